"""The partitions of the graph: a campaign at a time."""

from __future__ import annotations

import dagster as dg

# One partition per campaign (`slug`) or occurrence of a recurring one (`slug@occurrence`);
# the sensor campaign_folder_added registers them.
CAMPAIGN = dg.DynamicPartitionsDefinition(name="campaign")
