# The one list of core policies, in the order in which they are printed.
#
# `delay-range` means: src/arbiter/delay_range.cc defines the constant kDelayRange, and
# src/arbiter/delay_range_test.cc tests it. Nothing else must be edited.

set(YAMANOTE_CORE_POLICIES
    static
    congestion
    delay
    delay-range
    utilization-range)
