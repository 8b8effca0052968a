//! The lines in which `btrfs receive --dump` lists commands, made from typed ones: what
//! btrfs-progs reads in a stream, field by field.

use btrfs_payload::send_stream::Command;

/// Times are listed as dates, values of extended attributes as they are, and flags not alike in
/// all versions of btrfs-progs: these are not compared.
const NOT_COMPARED: [&str; 3] = [" atime=", " data=", " fileattr="];

/// A line as it is compared: columns apart by one blank.
pub fn comparable(line: &str) -> String {
    let mut end = line.len();
    for field in NOT_COMPARED {
        end = end.min(line.find(field).unwrap_or(end));
    }
    line[..end]
        .split(' ')
        .filter(|column| !column.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Lists commands; remembers the subvolume they are about.
#[derive(Debug, Default)]
pub struct Lister {
    subvolume: String,
}

impl Lister {
    /// The line of a command; `None` for `END`, which is not listed.
    pub fn line(&mut self, command: &Command) -> Option<String> {
        let kind = command.kind();
        let (path, rest) = match command {
            Command::End(_) => return None,
            Command::Subvol(c) => {
                self.subvolume = format!("./{}", escaped(&c.path));
                let line = format!("uuid={} transid={}", c.uuid, c.ctransid);
                return Some(format!("{kind} {} {line}", self.subvolume));
            }
            Command::Snapshot(c) => {
                self.subvolume = format!("./{}", escaped(&c.path));
                let line = format!(
                    "uuid={} transid={} parent_uuid={} parent_transid={}",
                    c.uuid, c.ctransid, c.clone_uuid, c.clone_ctransid
                );
                return Some(format!("{kind} {} {line}", self.subvolume));
            }
            Command::MkFile(c) => (&c.path, String::new()),
            Command::MkDir(c) => (&c.path, String::new()),
            Command::MkNod(c) => (&c.path, format!("mode={:o} dev=0x{:x}", c.mode, c.rdev)),
            Command::MkFifo(c) => (&c.path, String::new()),
            Command::MkSock(c) => (&c.path, String::new()),
            Command::Symlink(c) => (&c.path, format!("dest={}", escaped(&c.path_link))),
            Command::Rename(c) => (&c.path, format!("dest={}", self.inside(&c.path_to))),
            Command::Link(c) => (&c.path, format!("dest={}", escaped(&c.path_link))),
            Command::Unlink(c) => (&c.path, String::new()),
            Command::RmDir(c) => (&c.path, String::new()),
            Command::SetXattr(c) => (&c.path, format!("name={}", name(&c.xattr_name))),
            Command::RemoveXattr(c) => (&c.path, format!("name={}", name(&c.xattr_name))),
            Command::Write(c) => {
                let line = format!("offset={} len={}", c.file_offset, c.data.len());
                (&c.path, line)
            }
            Command::Clone(c) => {
                let from = self.inside(&c.clone_path);
                let line = format!(
                    "offset={} len={} from={from} clone_offset={}",
                    c.file_offset, c.clone_len, c.clone_offset
                );
                (&c.path, line)
            }
            Command::Truncate(c) => (&c.path, format!("size={}", c.size)),
            Command::Chmod(c) => (&c.path, format!("mode={:o}", c.mode)),
            Command::Chown(c) => (&c.path, format!("gid={} uid={}", c.gid, c.uid)),
            Command::Utimes(c) => (&c.path, String::new()),
            Command::UpdateExtent(c) => {
                (&c.path, format!("offset={} len={}", c.file_offset, c.size))
            }
            Command::Fallocate(c) => {
                let line = format!(
                    "mode={} offset={} len={}",
                    c.fallocate_mode, c.file_offset, c.size
                );
                (&c.path, line)
            }
            Command::Fileattr(c) => (&c.path, String::new()),
            Command::EncodedWrite(c) => {
                let fields = c.fields();
                let line = format!(
                    "offset={} len={}, unencoded_file_len={}, unencoded_len={}, \
                     unencoded_offset={}, compression={}, encryption={}",
                    c.file_offset,
                    c.data.len(),
                    fields.len,
                    fields.unencoded_len,
                    fields.unencoded_offset,
                    fields.compression.0,
                    fields.encryption
                );
                (&c.path, line)
            }
            Command::EnableVerity(c) => (&c.path, String::new()),
            other => panic!("no line for {other:?}"),
        };
        Some(
            format!("{kind} {} {rest}", self.inside(path))
                .trim_end()
                .to_owned(),
        )
    }

    fn inside(&self, path: &[u8]) -> String {
        format!("{}/{}", self.subvolume, escaped(path))
    }
}

fn name(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A path as btrfs-progs prints it.
fn escaped(path: &[u8]) -> String {
    path.iter()
        .map(|&byte| match byte {
            b'\n' => "\\n".to_owned(),
            b' ' => "\\ ".to_owned(),
            b'\\' => "\\\\".to_owned(),
            b'!'..=b'~' => char::from(byte).to_string(),
            _ => format!("\\{byte:03o}"),
        })
        .collect()
}
