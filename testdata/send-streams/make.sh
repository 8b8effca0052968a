#!/usr/bin/env bash
# Makes the send streams of this directory again, with the running kernel: needs root, btrfs-progs
# and a kernel that sends version 2 (6.0 or later). Identities and times differ from run to run.
# Beside each stream: what `btrfs receive --dump` lists of it.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'umount "$work/mnt" 2>/dev/null || true; rm -r "$work"' EXIT
truncate -s 200M "$work/image"
mkfs.btrfs -q "$work/image"
mkdir "$work/mnt"
mount -o loop,compress-force=zstd "$work/image" "$work/mnt"

in=$work/mnt/work
btrfs -q subvolume create "$in"
mkdir "$in/dir"
seq 800 > "$in/inline"
seq 3000 > "$in/compressed"
printf 'plain' > "$in/dir/plain"
ln "$in/inline" "$in/dir/second name"
ln -s ../inline "$in/dir/link"
mkfifo "$in/dir/pipe"
mknod "$in/dir/device" c 5 300
printf 'odd' > "$in/"$'new\nline \xff'
setfattr -n user.name -v value "$in/inline"
sync
btrfs -q subvolume snapshot -r "$in" "$work/mnt/one"

cp --reflink=always "$in/compressed" "$in/dir/clone"
truncate -s 5000 "$in/compressed"
rm "$in/dir/pipe"
mv "$in/dir/device" "$in/device"
setfattr -x user.name "$in/inline"
chmod 4700 "$in/inline"
sync
btrfs -q subvolume snapshot -r "$in" "$work/mnt/two"

cd "$work/mnt"
make() {
    local name=$1
    shift
    btrfs -q send -f "$OLDPWD/$name.stream" "$@"
    btrfs receive --dump -f "$OLDPWD/$name.stream" > "$OLDPWD/$name.dump"
}
make full-v1 one
make full-v2-compressed --proto 2 --compressed-data one
make difference-v1 -p one two
make difference-v2-compressed --proto 2 --compressed-data -p one two
make two-subvolumes-v2 --proto 2 --compressed-data -e one two
cd "$OLDPWD"
chmod 644 ./*.stream ./*.dump
