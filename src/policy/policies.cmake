# The one list of policies, in the order in which they are printed.
#
# `slo-ratio` means: src/policy/slo_ratio.cc defines the constant kSloRatio, and
# src/policy/slo_ratio_test.cc tests it. Nothing else must be edited.

set(YAMANOTE_POLICIES
    fifo
    rr
    slo-ratio
    edf
    las
    mlfq
    lifo
    cfs
    eevdf
    darc
    cbs
    lrtf)
