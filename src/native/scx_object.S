// scx_object.S - the compiled sched_ext programs, as bytes.

        .section .rodata
        .balign 8
        .global yamanote_scx_object
        .global yamanote_scx_object_end
yamanote_scx_object:
        .incbin YAMANOTE_SCX_OBJECT
yamanote_scx_object_end:
        .section .note.GNU-stack, "", @progbits
