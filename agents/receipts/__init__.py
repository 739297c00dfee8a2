"""One partition of `receipts.submitted`, its cursors, and what the devices are told of them."""
