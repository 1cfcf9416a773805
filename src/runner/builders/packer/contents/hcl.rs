//! Templates in HCL's own syntax.

use hcl_edit::{
    Span,
    expr::Expression,
    structure::{Block, Body},
};

use super::found::{Contents, Parts, is_upload, mentions_upload};

const POST_PROCESSOR: &str = "post-processor";
const CHAIN: &str = "post-processors";

/// `None`: it is no HCL.
pub(super) fn read(text: &str) -> Option<Contents> {
    let body: Body = text.parse().ok()?;
    let mut found = Contents::default();
    for block in body.get_blocks("packer").flat_map(|block| block.body.get_blocks("required_plugins")) {
        found.plugins.ranges.extend(block.span());
        let plugins = block.body.attributes();
        found.plugins.names.extend(plugins.map(|plugin| plugin.key.to_string().trim().to_owned()));
    }
    for block in body.get_blocks("build").flat_map(|build| build.body.blocks()) {
        add(block, &mut found.uploads);
        found.unclear |= is_unclear(block, text);
    }
    Some(found)
}

/// A chain of which nothing would be left goes as a whole: for an empty one, packer throws the image away.
fn add(block: &Block, uploads: &mut Parts) {
    let members: Vec<&Block> = match block.ident.as_str() {
        POST_PROCESSOR => vec![block],
        CHAIN => block.body.get_blocks(POST_PROCESSOR).collect(),
        _ => return,
    };
    let kind = |member: &Block| member.labels.first().map(|label| label.as_str().to_owned());
    let publishing: Vec<_> =
        members.iter().filter_map(|member| Some((*member, kind(member).filter(|kind| is_upload(kind))?))).collect();
    let goes_whole = publishing.len() == members.len();
    for (member, kind) in publishing {
        uploads.names.push(kind);
        uploads.ranges.extend(if goes_whole { block.span() } else { member.span() });
    }
}

/// Whether it makes post-processors of which nobody knows what they are before packer runs.
fn is_unclear(block: &Block, text: &str) -> bool {
    let makes = block.labels.first().map(|label| label.as_str().to_owned());
    if !block.has_ident("dynamic") || !makes.is_some_and(|makes| makes == POST_PROCESSOR || makes == CHAIN) {
        return false;
    }
    let is_computed = block.body.get_attribute("labels").is_some_and(|labels| !is_literal(&labels.value));
    is_computed || block.span().and_then(|span| text.get(span)).is_none_or(mentions_upload)
}

fn is_literal(labels: &Expression) -> bool {
    labels.as_array().is_some_and(|labels| labels.iter().all(|label| label.as_str().is_some()))
}
