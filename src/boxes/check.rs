//! What `qemu-img check` says of a disk: what is behind the headers that are read here.
//!
//! `qemu-img check -f FORMAT FILE` compares the tables of a disk with each other and with the length of the file, and
//! changes nothing without `-r`. By its manual it knows qcow2, qed, parallels, vhdx, vmdk and vdi, and not raw, where
//! each length is a disk. What it finds was measured with QEMU 7.2:
//!
//! * qcow2: a cut by a cluster (64 KiB) or more, and most changes of the tables. An entry that became zero is only a
//!   leak to it, and the machine reads zeros there. `qemu-img convert` writes zeros for what was cut, without an error,
//!   unless it was compressed: nothing but this check finds that.
//! * vmdk: a cut by somewhat more than a grain (64 KiB), as an internal error. `qemu-img convert` fails for each cut.
//! * vdi: no cut at all. That the file ends before its last block is seen by its header, where a box is inspected.
//! * Changes of the data are found in none of them: the SHA-256 of the file is there for that.

use super::refusal::Defect;

/// The state of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Nothing is wrong with it, or it has parts that nothing uses (a leak), which take place and do no harm.
    Good,
    /// It must not be used. The defect is a sentence whose subject is the disk, as in
    /// [`Refusal::Disk`](super::Refusal::Disk).
    Damaged(Defect),
    /// Its format has nothing that could be checked, as raw.
    NotCheckable,
    /// It is not known: the program was ended from outside, or is another one. The disk must not be used yet.
    Unfinished,
}

/// What the exit code of `qemu-img check` means, without `-r`; `None` where a signal ended it.
///
/// By its manual: 0 is consistent, 1 not completed because of internal errors, 2 corrupted, 3 leaked clusters but not
/// corrupted, and 63 that the format supports no checks. 1 is taken for damage, since that is how a cut VMDK ends, and
/// a header that cannot be opened. A file that is not there ends so too: look whether it is there before.
#[must_use]
pub const fn checked(code: Option<i32>) -> Checked {
    match code {
        Some(0 | 3) => Checked::Good,
        Some(1) => Checked::Damaged(Defect::Uncheckable),
        Some(2) => Checked::Damaged(Defect::Inconsistent),
        Some(63) => Checked::NotCheckable,
        _ => Checked::Unfinished,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_of_qemu_img_check_says_how_a_disk_is() {
        for (code, expected) in [
            (Some(0), Checked::Good),
            (Some(1), Checked::Damaged(Defect::Uncheckable)),
            (Some(2), Checked::Damaged(Defect::Inconsistent)),
            (Some(3), Checked::Good),
            (Some(63), Checked::NotCheckable),
            // Not found, not executable, and one that its manual does not know.
            (Some(127), Checked::Unfinished),
            (Some(126), Checked::Unfinished),
            (Some(4), Checked::Unfinished),
            (Some(-1), Checked::Unfinished),
            (None, Checked::Unfinished),
        ] {
            assert_eq!(checked(code), expected, "{code:?}");
        }
    }

    #[test]
    fn damage_is_a_sentence_that_says_what_to_do() {
        for code in [1, 2] {
            let Checked::Damaged(defect) = checked(Some(code)) else { panic!("{code}") };
            assert!(defect.to_string().ends_with("write or fetch it again"), "{defect}");
        }
    }
}
