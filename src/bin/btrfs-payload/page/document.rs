//! The page as a whole, and its plain parts.

use std::fmt;

use super::text::Text;

const STYLE: &str = include_str!("style.css");

/// A page that is being made. Whatever is added is escaped.
#[derive(Debug)]
pub(crate) struct Page {
    title: String,
    body: String,
}

/// How good the news is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    /// Neither: something is told.
    Plain,
}

impl Page {
    /// With a title for the browser's tab.
    pub(crate) fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            body: String::new(),
        }
    }

    /// Adds markup: for the parts of this module, which escape what they are given.
    pub(super) fn write(&mut self, markup: fmt::Arguments<'_>) {
        use fmt::Write;
        // Writing to a string does not fail.
        let _ = self.body.write_fmt(markup);
    }

    /// What is to be seen first: a word or two, what it is about, and a sentence.
    pub(crate) fn verdict(&mut self, tone: Tone, verdict: &str, about: &str, sentence: &str) {
        let (class, mark) = match tone {
            Tone::Good => ("good", "\u{2713} "),
            Tone::Bad => ("bad", "\u{2717} "),
            Tone::Plain => ("told", ""),
        };
        let [verdict, about, sentence] = [verdict, about, sentence].map(Text);
        self.write(format_args!(
            "<header class=\"{class}\">\n<p class=\"about\">{about}</p>\n<h1>{mark}{verdict}</h1>\n\
             <p>{sentence}</p>\n</header>\n"
        ));
    }

    pub(crate) fn heading(&mut self, heading: &str) {
        self.write(format_args!("<h2>{}</h2>\n", Text(heading)));
    }

    pub(crate) fn paragraph(&mut self, text: &str) {
        self.write(format_args!("<p>{}</p>\n", Text(text)));
    }

    /// A remark in small letters.
    pub(crate) fn note(&mut self, text: &str) {
        self.write(format_args!("<p class=\"note\">{}</p>\n", Text(text)));
    }

    /// A few figures side by side, each with what it is.
    pub(crate) fn figures(&mut self, figures: &[(&str, String)]) {
        self.write(format_args!("<dl class=\"figures\">\n"));
        for (what, figure) in figures {
            let (what, figure) = (Text(what), Text(figure));
            self.write(format_args!(
                "<div><dt>{what}</dt><dd>{figure}</dd></div>\n"
            ));
        }
        self.write(format_args!("</dl>\n"));
    }

    /// All of it, as a file.
    pub(super) fn html(&self) -> String {
        let (title, body, version) = (Text(&self.title), &self.body, env!("CARGO_PKG_VERSION"));
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" \
             content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\
             </main>\n<footer>btrfs-payload {version}</footer>\n</body>\n</html>\n"
        )
    }
}
