//! `SF-RSK-*`: limits on what a principal may order.

use super::{Code, Entry, Retry};

pub(super) const TABLE: &[Entry] = &[
    Entry {
        code: Code::RskQuantityMax,
        text: "SF-RSK-001",
        retry: Retry::Never,
        message: "the quantity exceeds the limit of one order",
        hint: "Send a smaller quantity.",
        explain: "The entitlement limits the quantity of a single order.",
    },
    Entry {
        code: Code::RskNotionalMax,
        text: "SF-RSK-002",
        retry: Retry::Never,
        message: "the notional value exceeds the limit of one order",
        hint: "Send a smaller order.",
        explain: "The entitlement limits price times quantity of a single order. For a market order the best opposite price counts.",
    },
    Entry {
        code: Code::RskOpenOrdersMax,
        text: "SF-RSK-003",
        retry: Retry::Never,
        message: "the principal has as many open orders as it may have",
        hint: "Cancel an order first.",
        explain: "The entitlement limits how many orders may rest at the venue at once.",
    },
    Entry {
        code: Code::RskVenueOrdersMax,
        text: "SF-RSK-004",
        retry: Retry::Later,
        message: "the venue holds as many open orders as it may hold",
        hint: "Try again when orders have left the book.",
        explain: "The venue's memory for resting orders is bounded and full. The order was not executed.",
    },
];
