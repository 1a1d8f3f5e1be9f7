//! The rules of the scheduler, one claim each.
