use std::{
    io::Cursor,
    path::{Path, PathBuf},
};

use tar::{Builder, EntryType, Header};

use super::*;
use crate::boxes::flatten::{Image, Limits, Usage};

const MIB: u64 = 1024 * 1024;
const IDENTITY: Identity = Identity::new([0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

/// An image of files, and of symlinks where there is an arrow.
fn image(entries: &[&str]) -> Image<Cursor<Vec<u8>>> {
    let mut layer = Builder::new(Vec::new());
    for entry in entries {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        let (name, target) = entry.split_once(" -> ").unwrap_or((entry, ""));
        if target.is_empty() {
            layer.append_data(&mut header, name, std::io::empty()).unwrap();
        } else {
            header.set_entry_type(EntryType::Symlink);
            layer.append_link(&mut header, name, target).unwrap();
        }
    }
    let layers = [Cursor::new(layer.into_inner().unwrap())];
    Image::read(layers, Limits { entries: 100, bytes: 0 }).unwrap()
}

fn of_kernel(kernel: &str, initrd: &str) -> Boot {
    Boot::Kernel { kernel: kernel.to_owned(), initrd: initrd.to_owned() }
}

#[test]
fn an_image_boots_what_it_has() {
    let debian =
        ["vmlinuz -> boot/vmlinuz-6.1", "initrd.img -> boot/initrd.img-6.1", "boot/vmlinuz-6.1", "boot/initrd.img-6.1"];
    let cases: &[(&[&str], Boot)] = &[
        (&debian, of_kernel("/vmlinuz", "/initrd.img")),
        (&[&debian[..], &["boot/grub/grub.cfg"]].concat(), Boot::Menu),
        (&debian[1..], of_kernel("/boot/vmlinuz-6.1", "/boot/initrd.img-6.1")),
        // The link leads nowhere.
        (
            &[debian[0], "initrd.img -> boot/none", debian[2], debian[3]],
            of_kernel("/boot/vmlinuz-6.1", "/boot/initrd.img-6.1"),
        ),
        (
            &[
                "boot/vmlinuz-6.9.1",
                "boot/initrd.img-6.9.1",
                "boot/vmlinuz-6.12.1",
                "boot/initrd.img-6.12.1",
                "boot/vmlinuz-6.12.10",
            ],
            of_kernel("/boot/vmlinuz-6.12.1", "/boot/initrd.img-6.12.1"),
        ),
        (
            &["boot/vmlinuz-6.12-rc1", "boot/initrd.img-6.12-rc1", "boot/vmlinuz-6.9", "boot/initrd.img-6.9"],
            of_kernel("/boot/vmlinuz-6.12-rc1", "/boot/initrd.img-6.12-rc1"),
        ),
        (
            &[
                "boot/vmlinuz-0-rescue-ab",
                "boot/initramfs-0-rescue-ab.img",
                "boot/vmlinuz-6.8.5-301.fc40.x86_64",
                "boot/initramfs-6.8.5-301.fc40.x86_64.img",
            ],
            of_kernel("/boot/vmlinuz-6.8.5-301.fc40.x86_64", "/boot/initramfs-6.8.5-301.fc40.x86_64.img"),
        ),
        (&["boot/vmlinuz-virt", "boot/initramfs-virt"], of_kernel("/boot/vmlinuz-virt", "/boot/initramfs-virt")),
        (
            &["boot/vmlinuz-6-default", "boot/initrd-6-default"],
            of_kernel("/boot/vmlinuz-6-default", "/boot/initrd-6-default"),
        ),
    ];
    for (entries, expected) in cases {
        assert_eq!(boot(image(entries).tree()).as_ref(), Ok(expected), "{entries:?}");
    }
}

#[test]
fn an_image_without_a_kernel_says_what_to_install() {
    let refusal = |entries| boot(image(entries).tree()).unwrap_err().to_string();
    // What a script of GRUB would read as more than a name is no kernel.
    for entries in [
        &["bin/sh"][..],
        &["boot/vmlinuz-"],
        &["boot/vmlinuz-1;reboot", "boot/initrd.img-1;reboot"],
        &["boot/vmlinuz-1/x"],
    ] {
        assert!(
            refusal(entries).starts_with("the image has no kernel: neither /vmlinuz nor /boot/vmlinuz-*. Install one"),
            "{entries:?}"
        );
    }
    assert_eq!(
        refusal(&["boot/vmlinuz-6.1", "boot/vmlinuz-5.9"]),
        "the image has the kernel /boot/vmlinuz-6.1, but no initial file system for it: install what makes one, as Debian's initramfs-tools, before the kernel"
    );
}

#[test]
fn a_disk_has_room_for_more_than_the_image_or_is_as_large_as_is_wanted() {
    let usage = |blocks, inodes| Usage { inodes, bytes: 0, blocks };
    let cases = [
        (usage(0, 1), None, Ok((320 * MIB, 20480))),
        (usage(1000 * MIB, 10_000), None, Ok((1600 * MIB, 102_400))),
        // More small files than there would be room for.
        (usage(400 * MIB, 90_000), None, Ok((832 * MIB, 121_024))),
        (usage(1000 * MIB, 10_000), Some(2000 * MIB - 1), Ok((2000 * MIB, 128_000))),
        (
            usage(1000 * MIB, 10),
            Some(1000 * MIB),
            Err(NoSize::TooSmall { wanted: 1000 * MIB, needed: 1065 * MIB + 64000 * 256 }),
        ),
        (usage(0, 1), Some(2 << 40), Err(NoSize::TooLarge { bytes: 2 << 40 })),
        (usage(0, 1), Some(u64::MAX), Err(NoSize::TooLarge { bytes: u64::MAX })),
        (usage(u64::MAX, u64::MAX), None, Err(NoSize::TooLarge { bytes: u64::MAX })),
    ];
    for (image, wanted, expected) in cases {
        let found = disk_size(image, wanted).map(|size| (size.bytes, size.inodes));
        assert_eq!(found, expected, "{image:?} {wanted:?}");
    }
}

#[test]
fn an_identity_is_a_uuid_of_its_own_version() {
    assert_eq!(IDENTITY.to_string(), "10010203-0405-8607-8809-0a0b0c0d0e0f");
    assert_eq!(Identity::new([0xff; 16]).to_string(), "ffffffff-ffff-8fff-bfff-ffffffffffff");
    assert_eq!((IDENTITY.signature(), Identity::new([0; 16]).signature()), (0x0302_0111, 1));
}

#[test]
fn grub_finds_the_file_system_first() {
    let found = "search.fs_uuid 10010203-0405-8607-8809-0a0b0c0d0e0f root\nset prefix=($root)/boot/grub\n";
    assert_eq!(early_config(&Boot::Menu, IDENTITY), found);
    assert_eq!(
        early_config(&of_kernel("/vmlinuz", "/initrd.img"), IDENTITY),
        format!(
            "{found}linux /vmlinuz root=UUID={IDENTITY} rw console=tty0 console=ttyS0,115200\ninitrd /initrd.img\nboot\n"
        )
    );
}

#[test]
fn the_programs_are_exactly_these() {
    let files = Files::within(Path::new("/w"));
    let size = DiskSize { bytes: 640 * MIB, inodes: 40960 };
    let lines = [file_system(&files, IDENTITY, size, 17), core_image(&files), qcow2(&files)].map(|step| {
        let environment = step.environment.iter().map(|(name, value)| format!("{name}={value}"));
        let words = environment.chain([step.program.to_owned()]).chain(step.arguments);
        words.collect::<Vec<_>>().join(" ")
    });
    assert_eq!(
        lines,
        [
            "SOURCE_DATE_EPOCH=17 mke2fs -q -F -t ext4 -O ^metadata_csum_seed,^orphan_file -b 4096 -I 256 -N 40960 -m 1 -L root -U 10010203-0405-8607-8809-0a0b0c0d0e0f -E offset=1048576,hash_seed=10010203-0405-8607-8809-0a0b0c0d0e0f,root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard -d /w/root.tar /w/disk.raw 654336k",
            "grub-mkimage -O i386-pc -d /usr/lib/grub/i386-pc -p /boot/grub -c /w/early.cfg -o /w/core.img all_video biosdisk boot cat chain configfile echo ext2 font gfxterm gzio halt help linux linux16 loadenv ls minicmd normal part_gpt part_msdos probe reboot regexp search search_fs_file search_fs_uuid search_label serial sleep terminal test true vbe vga video xzio zstd",
            "qemu-img convert -f raw -O qcow2 /w/disk.raw /w/disk.qcow2",
        ]
    );
    assert_eq!(Files::boot_sector(), PathBuf::from("/usr/lib/grub/i386-pc/boot.img"));
}

fn boot_sector() -> Vec<u8> {
    [vec![1; 510], vec![0x55, 0xaa]].concat()
}

#[test]
fn the_first_sectors_are_grub_and_the_partition_table() {
    let mut disk = Cursor::new(vec![9; 4096]);
    let size = DiskSize { bytes: 640 * MIB, inodes: 1 };
    install(&mut disk, &boot_sector(), &[2; 1000], IDENTITY, size).unwrap();
    let disk = disk.into_inner();
    assert_eq!((&disk[..440], &disk[512..1512], &disk[1512..]), (&[1; 440][..], &[2; 1000][..], &[9; 2584][..]));
    let partition = [0x80, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff, 0, 8, 0, 0, 0, 0xf8, 0x13, 0];
    let expected = [&[0x11, 1, 2, 3, 0, 0][..], &partition, &[0; 48], &[0x55, 0xaa]].concat();
    assert_eq!(disk[440..512], expected);
}

#[test]
fn what_is_no_grub_is_not_installed() {
    let size = DiskSize { bytes: 640 * MIB, inodes: 1 };
    let refusal = |boot: &[u8], core: &[u8]| {
        let mut disk = Cursor::new(Vec::new());
        let refusal = install(&mut disk, boot, core, IDENTITY, size).unwrap_err().to_string();
        assert!(disk.into_inner().is_empty());
        refusal
    };
    assert!(refusal(&boot_sector()[..511], &[]).starts_with("GRUB's boot.img is no boot sector: it has 511 bytes"));
    assert!(refusal(&[0; 512], &[]).starts_with("GRUB's boot.img is no boot sector"));
    let core = vec![0; 1_048_065];
    assert!(refusal(&boot_sector(), &core).starts_with("GRUB's core image has 1048065 bytes"));
    assert!(install(&mut Cursor::new(Vec::new()), &boot_sector(), &core[1..], IDENTITY, size).is_ok());
}
