//! What goes wrong, and with which file: `--format json` has the path apart from the sentence.

use std::error::Error;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

/// A sentence about a file: an error, or the context of one.
#[derive(Debug)]
pub(crate) struct About {
    path: PathBuf,
    sentence: String,
}

impl Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl Error for About {}

/// This sentence, which is about this file.
pub(crate) fn about(path: &Path, sentence: impl Display) -> About {
    About {
        path: path.to_owned(),
        sentence: sentence.to_string(),
    }
}

/// `bail!` with a sentence about a file, which is the first argument.
macro_rules! bail_about {
    ($path:expr, $($sentence:tt)+) => {
        return Err(anyhow::Error::new($crate::about::about(
            $path,
            format_args!($($sentence)+),
        )))
    };
}
pub(crate) use bail_about;

/// The file that an error is about; `None` for standard input, and where there is none.
pub(crate) fn path_of(error: &anyhow::Error) -> Option<&Path> {
    let about = error.downcast_ref::<About>()?;
    (about.path != Path::new("-")).then_some(&about.path)
}
