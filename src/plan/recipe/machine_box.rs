//! Making a machine box of the parent.

use serde::{Deserialize, Serialize};

use super::{fields::Fields, needed::Needed, tool::Tool, values::Values, variables::Variables};
use crate::{
    api::{
        boxes::{BoxFormat, BoxProvider},
        recipe as api,
    },
    plan::{path::SourcePath, placeholder::Template, quantity::thousandths},
};

/// The least of a disk, in bytes: a boot loader and a file system have room in it.
const LEAST: u64 = 64 << 20;
/// The most of a disk, in bytes: 2 TiB, beyond which a partition table of DOS does not reach.
const MOST: u64 = 2 << 40;

/// What kind of box is made of the parent. It has no texts with placeholders: `T` is there for its likes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Box<T> {
    /// The format.
    pub format: BoxFormat,
    /// The provider of a Vagrant box.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<BoxProvider>,
    /// The size of a disk that is made of an image, in bytes; `None`: as much as that needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(skip)]
    text: std::marker::PhantomData<T>,
}

impl Box<Template> {
    /// Validates what is written. `None` where something is wrong that leaves no valid form.
    #[must_use]
    pub fn validate(written: &api::BoxStep, mut fields: Fields<'_>) -> Option<Self> {
        let provider = match written.format {
            BoxFormat::Vagrant => Some(written.provider.unwrap_or(BoxProvider::Libvirt)),
            BoxFormat::Qcow2 | BoxFormat::Raw => None,
        };
        if provider.is_none() && written.provider.is_some() {
            fields.below("provider").add("goes with format: Vagrant");
        }
        let size = match &written.size {
            Some(size) => Some(fields.take("size", bytes(&size.0))?),
            None => None,
        };
        Some(Self { format: written.format, provider, size, text: std::marker::PhantomData })
    }

    /// The same: it has no placeholders.
    #[must_use]
    pub const fn fill(&self, _values: &Values) -> Box<String> {
        Box { format: self.format, provider: self.provider, size: self.size, text: std::marker::PhantomData }
    }
}

fn bytes(quantity: &str) -> Result<u64, &'static str> {
    let amount = thousandths(quantity).map(|amount| amount / 1000);
    amount.filter(|bytes| (LEAST..=MOST).contains(bytes)).ok_or("must be a quantity from 64Mi to 2Ti, for example 8Gi")
}

impl<T> Tool<T> for Box<T> {
    fn variables(&self) -> Option<&Variables<T>> {
        None
    }

    fn uses_source(&self) -> bool {
        false
    }

    fn paths(&self) -> Option<Vec<&SourcePath>> {
        Some(Vec::new())
    }

    fn needs(&self) -> Vec<Needed> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::plan::validate::problem::Problems;

    /// The valid form of what is written, and what is wrong with it.
    fn validated(written: &Value) -> (Option<Box<Template>>, Vec<String>) {
        let (none, mut problems) = (BTreeSet::new(), Problems::default());
        let step = serde_json::from_value(written.clone()).unwrap();
        let valid = Box::validate(&step, Fields::new("box".to_owned(), &none, &mut problems));
        (valid, problems.into_vec().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_box_is_one_of_vagrant_for_libvirt_unless_it_says_otherwise() {
        use BoxFormat::{Qcow2, Raw, Vagrant};
        use BoxProvider::{Libvirt, VirtualBox};
        for (written, format, provider, size) in [
            (json!({}), Vagrant, Some(Libvirt), None),
            (json!({"provider": "VirtualBox", "size": "8Gi"}), Vagrant, Some(VirtualBox), Some(8 << 30)),
            (json!({"format": "Qcow2", "size": "64Mi"}), Qcow2, None, Some(64 << 20)),
            (json!({"format": "Raw", "size": "2Ti"}), Raw, None, Some(2 << 40)),
            (json!({"format": "Raw", "size": "100M"}), Raw, None, Some(100_000_000)),
        ] {
            let (valid, problems) = validated(&written);
            assert_eq!(problems, [""; 0], "{written}");
            let valid = valid.unwrap();
            assert_eq!((valid.format, valid.provider, valid.size), (format, provider, size), "{written}");
            let filled = valid.fill(&Values::default());
            let read: Box<String> = serde_json::from_value(json!(filled)).unwrap();
            assert_eq!(read, filled, "a job has it as it is");
        }
    }

    #[test]
    fn what_no_box_can_be_is_told() {
        let of_size = "box.size: must be a quantity from 64Mi to 2Ti, for example 8Gi";
        for (written, expected) in [
            (json!({"format": "Raw", "provider": "Libvirt"}), "box.provider: goes with format: Vagrant"),
            (json!({"size": "63Mi"}), of_size),
            (json!({"size": "3Ti"}), of_size),
            (json!({"size": "999999999999Ti"}), of_size),
            (json!({"size": "8GB"}), of_size),
            (json!({"size": "1000m"}), of_size),
        ] {
            assert_eq!(validated(&written).1, [expected], "{written}");
        }
    }
}
