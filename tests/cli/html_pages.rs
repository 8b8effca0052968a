//! Pages that `--html` makes: whole, closed, escaped, without anything from elsewhere.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::material::{begun_stream, content, lines, noise};
use crate::support::{self, Options, subvolume};
use crate::{assert_trouble, run, tree};

/// What a page has between its tags, and in them.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Text, entities resolved, with a blank where a tag was.
    pub(crate) text: String,
    /// Names of tags that were opened.
    pub(crate) tags: Vec<String>,
}

/// Reads a page as strictly as XML: every tag closed in its turn, every attribute in double quotes,
/// no character of markup in a text. Names of tags and attributes are those that the program
/// writes, and none of them can load or run anything.
#[track_caller]
pub(crate) fn strict(page: &str) -> Seen {
    const TAGS: &str = "html head meta title style body main header footer section h1 h2 h3 p b i br \
        small span ul ol li dl dt dd div table thead tbody tr th td a code svg rect";
    const ATTRIBUTES: &str = "lang charset http-equiv content name class style scope aria-hidden \
        aria-label role data-of id href viewBox x y width height";
    const VOID: [&str; 2] = ["meta", "br"];
    let mut seen = Seen::default();
    let mut open: Vec<String> = Vec::new();
    let mut rest = page.strip_prefix("<!doctype html>\n").unwrap();
    while !rest.is_empty() {
        let (text, tag) = rest.split_once('<').unwrap_or((rest, ""));
        // Style sheets are text without entities.
        if open.last().is_some_and(|name| name == "style") {
            assert!(
                !text.contains("url(") && !text.contains("@import"),
                "{text}"
            );
        } else {
            seen.text.push_str(&resolved(text));
            seen.text.push(' ');
        }
        if tag.is_empty() {
            break;
        }
        let (tag, after) = tag.split_once('>').expect("a tag without an end");
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closed out of turn");
            continue;
        }
        let (name, mut attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(TAGS.split(' ').any(|tag| tag == name), "<{tag}>");
        while !attributes.is_empty() {
            let (attribute, value) = attributes.split_once("=\"").expect("an attribute");
            let (value, after) = value.split_once('"').expect("a closed attribute");
            assert!(
                ATTRIBUTES.split(' ').any(|name| name == attribute),
                "<{tag}>"
            );
            let value = resolved(value);
            assert!(attribute != "href" || value.starts_with('#'), "<{tag}>");
            assert!(attribute != "style" || !value.contains('('), "<{tag}>");
            attributes = after.strip_prefix(' ').unwrap_or(after);
        }
        seen.tags.push(name.to_owned());
        if !VOID.contains(&name) {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    for once in ["html", "head", "title", "body", "main", "h1"] {
        let number = seen.tags.iter().filter(|tag| *tag == once).count();
        assert_eq!(number, 1, "{once}");
    }
    for word in ["http:", "https:", "<script", "javascript:"] {
        assert!(!page.contains(word), "{word}");
    }
    let is_unseen = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{200b}'..='\u{202e}');
    assert!(!page.contains(is_unseen));
    seen
}

/// A text with its entities resolved; there is no other `&`, and no bracket.
#[track_caller]
fn resolved(text: &str) -> String {
    assert!(!text.contains('>'), "a bracket: {text}");
    let mut parts = text.split('&');
    let mut whole = parts.next().unwrap().to_owned();
    for part in parts {
        let (entity, after) = part.split_once(';').expect("an entity");
        whole.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "#39" => '\'',
            _ => panic!("&{entity};"),
        });
        whole.push_str(after);
    }
    whole
}

/// Names that markup, a terminal or the direction of writing would fall for.
pub(crate) const NASTY: [&str; 6] = [
    "</style><script>alert(1)</script>",
    "\" onload=\"alert(1)",
    "a&b;&lt;'",
    "\u{1b}[31mred\r\n\u{202e}txt.exe",
    "\u{fffd}\u{0}&#x3c;b&#62;",
    "<!-- ]]> -->",
];

/// A stream that writes to files of these names, none of which it has made.
fn stream_that_writes(names: impl IntoIterator<Item = String>) -> Vec<u8> {
    let mut writer = begun_stream();
    for name in names {
        let path = bytes::Bytes::from(name.into_bytes());
        writer.write_data(&path, 0, b"data").unwrap();
    }
    writer.finish().unwrap()
}

/// Pages of every kind that need no btrfs, in a directory: their names.
pub(crate) fn pages(dir: &Path) -> Vec<String> {
    let write = |name: &str, bytes: &[u8]| fs::write(dir.join(name), bytes).unwrap();
    write("sound", &content("stream"));
    write("damaged", &content("stream-damaged-at 490"));
    write("cut", &content("stream-cut-to 3000"));
    let nasty = NASTY.map(|name| name.replace('\0', ""));
    write("nasty", &stream_that_writes(nasty));
    // Of a payload the name says which codec it is for.
    write("skip.zstd", &content("case zstd-skippable-frame-first"));
    write("padded.lzo", &content("case lzo-header-straddles-a-sector"));
    write("one.zlib", &content("valid zlib-inline"));
    write("<b>&\"'\u{1b}[1m", &content("stream-damaged-at 5000"));
    let commands = [
        ("check-sound", "stream check sound", 0),
        ("check-damaged", "stream check damaged", 1),
        ("check-nasty", "stream check nasty", 1),
        ("check-all", "stream check -r . missing", 2),
        ("stats", "stream stats sound --estimate zstd:9,zlib,lzo", 0),
        ("stats-nasty", "stream stats nasty", 0),
        ("stats-cut", "stream stats cut", 1),
        ("dump-zstd", "dump skip.zstd --unencoded-len 8192", 1),
        ("dump-lzo", "dump padded.lzo --unencoded-len 131072", 1),
        ("dump-zlib", "dump one.zlib --unencoded-len 3000", 0),
    ];
    let made = commands.map(|(name, command, code)| {
        let name = format!("{name}.html");
        let run = run(dir, command.split(' ').chain(["--html", &name]));
        assert_eq!(run.code, Some(code), "{command}: {run:?}");
        name
    });
    made.into()
}

#[test]
fn pages_are_closed_and_escaped_and_load_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for name in pages(dir.path()) {
        let page = fs::read_to_string(dir.path().join(&name)).unwrap();
        let seen = strict(&page);
        assert!(page.len() < 200_000, "{name}: {}", page.len());
        assert!(seen.text.contains("btrfs-payload 0."), "{name}");
        if name == "check-nasty.html" {
            for name in [
                "</style><script>alert(1)</script>",
                "a&b;&lt;'",
                "<!-- ]]> -->",
            ] {
                assert!(seen.text.contains(name), "{name}: {}", seen.text);
            }
            assert!(
                seen.text
                    .contains("\\x1b[31mred\\r\\n\\xe2\\x80\\xaetxt.exe")
            );
        }
        if name == "check-all.html" {
            assert!(seen.text.contains("./<b>&\"'\\x1b[1m"), "{}", seen.text);
            assert!(seen.text.contains("cannot read missing"), "{}", seen.text);
        }
    }
}

/// The page of a dump has every structure, in its order, and every byte of the map is one's.
#[test]
fn the_page_of_a_dump_has_what_the_dump_prints() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("one.zlib"), content("valid zlib-inline")).unwrap();
    let arguments = ["dump", "one.zlib", "--unencoded-len", "3000", "--html", "p"];
    let printed = run(dir.path(), arguments);
    let page = fs::read_to_string(dir.path().join("p")).unwrap();
    let seen = strict(&page);
    let mut rest = seen.text.as_str();
    assert!(printed.stdout.lines().count() > 3);
    for line in printed.stdout.lines() {
        // The place, eight bytes at the most, and the meaning, each in its column.
        let (place, meaning) = (line[..11].trim(), line[39..].trim());
        let (_, after) = rest.split_once(place).unwrap_or_else(|| panic!("{line}"));
        assert!(
            after.trim_start().starts_with(meaning),
            "{line}: {after:.200}"
        );
        rest = after;
    }
    let rects = page.split("<rect ").skip(1).map(|rect| {
        let (_, width) = rect.split_once(" width=\"").unwrap();
        width.split('"').next().unwrap().parse::<usize>().unwrap()
    });
    let len = content("valid zlib-inline").len();
    let squares: usize = rects.sum();
    assert_eq!(squares, len.div_ceil(len.div_ceil(64 * 48)));
}

/// Of many findings of a kind some are shown, and all are counted.
#[test]
fn a_page_is_small_however_much_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let names = (0..20_000).map(|number| format!("{number}/{}", "<".repeat(200)));
    fs::write(dir.path().join("s"), stream_that_writes(names)).unwrap();
    let run = run(dir.path(), ["stream", "check", "s", "--html", "p"]);
    assert_eq!(run.code, Some(1));
    let page = fs::read_to_string(dir.path().join("p")).unwrap();
    let seen = strict(&page);
    assert!(page.len() < 200_000, "{}", page.len());
    assert!(seen.text.contains("20000"), "{}", seen.text);
    assert!(seen.text.contains("more; --format json lists them"));
    // A frame of many blocks, each of one byte as it is (RFC 8878, 3.1.1).
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x60, 0, 2];
    (0..20_000).for_each(|_| frame.extend([1 << 3, 0, 0, b'a']));
    fs::write(dir.path().join("many.zstd"), frame).unwrap();
    let dump = [
        "dump",
        "many.zstd",
        "--unencoded-len",
        "20480",
        "--html",
        "q",
    ];
    assert_eq!(self::run(dir.path(), dump).code, Some(1));
    let page = fs::read_to_string(dir.path().join("q")).unwrap();
    assert!(
        strict(&page)
            .text
            .contains("more; --format json lists them")
    );
    assert!(page.len() < 600_000, "{}", page.len());
}

/// The page of a scan of directories with such names, and what the scan has printed; `None` where there can be no btrfs.
pub(crate) fn scanned(test: &str) -> Option<(String, String)> {
    let mount = support::btrfs(test, &Options::default().mounted_with("compress=zlib"))?;
    let top = mount.path().join("top");
    subvolume(&top);
    for (number, name) in NASTY.iter().enumerate() {
        let dir = top.join(name.replace(['\0', '/'], ""));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("text"), lines(100_000 * (number + 1))).unwrap();
        fs::write(dir.join("noise"), noise(100_000)).unwrap();
    }
    let holed = File::options()
        .write(true)
        .open(top.join("a&b;&lt;'/noise"));
    rustix::fs::syncfs(File::open(mount.path()).unwrap()).unwrap();
    // Of the extent on disk its second half is shown by nobody from now on.
    holed.unwrap().set_len(50_000).unwrap();
    rustix::fs::syncfs(File::open(mount.path()).unwrap()).unwrap();
    let top = top.to_str().unwrap();
    let page = mount.outside().join("page");
    let page_name = page.to_str().unwrap();
    let arguments = [
        "scan",
        top,
        "--bytes",
        "--estimate",
        "zstd:9",
        "--html",
        page_name,
    ];
    let run = run(mount.outside(), arguments);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let mode = fs::metadata(&page).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "directories may be private");
    Some((fs::read_to_string(page).unwrap(), run.stdout))
}

#[test]
fn the_page_of_a_scan_has_its_numbers() {
    let Some((page, printed)) = scanned("the_page_of_a_scan_has_its_numbers") else {
        return;
    };
    let seen = strict(&page);
    assert!(
        seen.text
            .contains("\\x1b[31mred\\r\\n\\xe2\\x80\\xaetxt.exe")
    );
    // The sums, and those of each directory, are on the page too.
    let numbers = |line: &str| -> Vec<String> {
        let words = line.split(' ');
        let numbers = words.filter(|word| word.len() > 4 && word.parse::<u64>().is_ok());
        numbers.map(str::to_owned).collect()
    };
    let estimate = printed.lines().last().unwrap();
    assert!(estimate.starts_with("zstd:9 would take "), "{estimate}");
    assert!(
        seen.text
            .contains(&format!("{} bytes", numbers(estimate)[0]))
    );
    let last = printed.lines().rev().nth(1).unwrap();
    assert!(numbers(last).len() > 2, "{last}");
    for number in numbers(last) {
        assert!(seen.text.contains(&format!("{number} bytes")), "{number}");
    }
    let directories = printed.lines().filter(|line| line.contains("/top"));
    assert_eq!(directories.clone().count(), NASTY.len() + 1);
    for line in directories {
        let on_disk = line.split_whitespace().nth(1).unwrap();
        assert!(seen.text.contains(&format!("{on_disk} bytes")), "{line}");
    }
}

#[test]
fn a_page_appears_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("s"), content("stream")).unwrap();
    fs::set_permissions(dir.path().join("s"), fs::Permissions::from_mode(0o640)).unwrap();
    let with = |more: &[&str]| run(dir.path(), [&["stream", "check", "s"], more].concat());
    let bare = with(&[]);
    let made = with(&["--html", "p"]);
    // What is printed stays as it is.
    assert_eq!(made, bare);
    let mode = |name: &str| {
        fs::metadata(dir.path().join(name))
            .unwrap()
            .permissions()
            .mode()
    };
    assert_eq!(mode("p") & 0o777, 0o640, "who may not read the stream");
    let page = fs::read_to_string(dir.path().join("p")).unwrap();
    assert_trouble(&with(&["--html", "p"]), &["p exists already; --force"]);
    assert_eq!(with(&["--html", "p", "--force"]), bare);
    assert_trouble(&with(&["--html", "no/p"]), &["there is no directory no"]);
    // On standard output the page, what is printed on standard error.
    let piped = with(&["--html", "-"]);
    assert_eq!((piped.code, &piped.stdout), (bare.code, &page));
    assert_eq!(piped.stderr, format!("btrfs-payload: {}", bare.stdout));
    // Of several inputs, what all may read who may read each.
    fs::write(dir.path().join("t"), content("stream")).unwrap();
    fs::set_permissions(dir.path().join("t"), fs::Permissions::from_mode(0o604)).unwrap();
    assert_eq!(with(&["t", "--html", "both"]).code, Some(0));
    assert_eq!(mode("both") & 0o077, 0);
    // Where the input fails there is nothing to make a page of.
    let failed = run(dir.path(), ["stream", "stats", "missing", "--html", "q"]);
    assert_trouble(&failed, &["missing"]);
    assert_eq!(tree(dir.path()), ["both", "p", "s", "t"]);
}
