//! Kernels named on the command line.

use std::str::FromStr;

use btrfs_payload::{Kernel, ParseKernelError};

/// A kernel by its release, or the one that is running.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) kernel: Kernel,
    /// What its user should know of the choice, if anything.
    pub(crate) note: Option<String>,
}

/// One kernel, or all.
#[derive(Debug, Clone)]
pub(crate) enum Which {
    One(Named),
    All,
}

/// What names a kernel, for shells to complete: the running one, and one of each behaviour.
pub(crate) fn names() -> Vec<String> {
    let known = Kernel::ALL.iter().rev().map(ToString::to_string);
    std::iter::once("running".to_owned()).chain(known).collect()
}

/// The same, and all of them together.
pub(crate) fn names_and_all() -> Vec<String> {
    let mut names = names();
    names.insert(0, "all".to_owned());
    names
}

impl FromStr for Named {
    type Err = ParseKernelError;

    fn from_str(name: &str) -> Result<Self, ParseKernelError> {
        if name == "running" {
            return release(&rustix::system::uname().release().to_string_lossy());
        }
        release(name)
    }
}

fn release(name: &str) -> Result<Named, ParseKernelError> {
    let kernel: Kernel = name.parse()?;
    let note = if kernel.is_newer_than_known() {
        let known = Kernel::NEWEST;
        Some(format!(
            "Linux {kernel} is newer than every kernel that was looked at; it is taken for {known}"
        ))
    } else if kernel.is_line() && name != kernel.to_string() {
        Some(format!(
            "{name} does not tell the point release; it is taken for the newest {kernel}"
        ))
    } else {
        None
    };
    Ok(Named { kernel, note })
}

impl FromStr for Which {
    type Err = ParseKernelError;

    fn from_str(name: &str) -> Result<Self, ParseKernelError> {
        match name {
            "all" => Ok(Self::All),
            name => name.parse().map(Self::One),
        }
    }
}
