//! Pages for a browser: what one gets in the mail, or shows to a colleague.
//!
//! A page is one file. It loads nothing and has no scripts, and says so to the browser (a content
//! security policy), so that nothing in it can do more than be read. It is light or dark as the
//! reader's system is, and fits a telephone.
//!
//! | file | what it does |
//! | --- | --- |
//! | `document` | [`Page`]: head, verdict, headings, paragraphs |
//! | `text` | escaping, once for all |
//! | `ink` | [`Ink`]: the colours, by what they stand for |
//! | `bars` | bars of shares, with their legend |
//! | `table` | tables, which are lists of cards where there is little room |
//! | `bytes` | a map of bytes beside the explanation of its parts |
//! | `estimates` | what each codec and level would give, with its error and its time |
//! | `findings` | [`Findings`]: by their codes, with what to do; a bounded number of places |
//! | `file` | [`HtmlFile`]: the option `--html`, and the file |
//! | `style.css` | how it looks |

mod bars;
mod bytes;
mod document;
mod estimates;
mod file;
mod findings;
mod ink;
mod table;
mod text;

pub(crate) use bars::{Share, percent};
pub(crate) use bytes::Line;
pub(crate) use document::{Page, Tone};
pub(crate) use file::HtmlFile;
pub(crate) use findings::{Findings, Place};
pub(crate) use ink::Ink;
pub(crate) use table::Cell;
