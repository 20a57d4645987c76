//! Time series: buckets in any time zone, aggregates, gaps, statistics and samples for a chart.
//! Pure: no database, no clock.
//!
//! [`Grid`] cuts a range into buckets. [`SeriesRepository`](crate::repo::SeriesRepository) sends
//! its edges to the server, so that the zones' rules are this crate's alone, and brings back a
//! [`Series`] for each KPI.
//!
//! # Invariants, and the tests that guard them
//!
//! | invariant | test |
//! |---|---|
//! | buckets of a zone are those of its clock, at every change of every zone | `buckets_are_those_of_the_clock_around_every_change_of_every_zone` |
//! | buckets follow each other, cover the range and nothing else | `a_grid_covers_its_range_and_nothing_else` |
//! | summaries of parts, put together, are the summary of all | `summaries_of_parts_add_up` |
//! | filling changes no value that is there | `filling_changes_no_value_that_is_there` |
//! | a downsampled line has its ends, is a part of the samples and in their order | `downsampling_keeps_ends_and_order` |
//! | rollups, points and a recomputation give one answer, in any zone and while it changes | `rollups_points_and_a_recomputation_agree` |
//! | days of the workspace's zone are read from rollups | `whole_periods_of_the_workspaces_zone_are_read_from_rollups` |
//! | the server's days are the grid's | `the_servers_days_are_those_of_the_grid` |
//! | figures are finite for any finite values | `every_figure_of_a_window_is_finite` |

mod aggregation;
mod downsample;
mod error;
mod fill;
mod goal;
mod grid;
mod statistics;
mod stretches;
mod summary;

pub use crate::value::zone::{Unit, Zone};
pub use downsample::{Sample, downsample};
pub use error::SeriesError;
pub use fill::Fill;
pub use goal::{GoalLink, GoalMoment, goal_series};
pub use grid::{FixedWidth, Grid, Step};
pub(crate) use statistics::check_percentiles;
pub use statistics::{Change, Statistics};
pub(crate) use stretches::Stretches;
pub use summary::{Aggregate, Bucket, Comparison, Series, Summary};
