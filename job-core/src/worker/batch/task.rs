//! The payload of a batch task.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What to split, with which plugin, and where the items go (messaging contract §5.1).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchTask {
    /// What the batch consists of, in the plugin's language.
    #[serde(default)]
    pub batch_definition: Option<String>,
    /// The plugin's name.
    #[serde(default)]
    pub batch_type: Option<String>,
    /// A hint for the plugin: what to make of an item.
    #[serde(default)]
    pub task_message_type: Option<String>,
    /// More hints for the plugin.
    #[serde(default)]
    pub task_message_params: Option<BTreeMap<String, Option<String>>>,
    /// The queue for the items.
    #[serde(default)]
    pub target_pipe: Option<String>,
}
