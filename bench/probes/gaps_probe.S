// gaps_probe.S - a probe that notes the time since the one before.

        .text
        .globl  yamanote_preempt_probe
        .type   yamanote_preempt_probe, @function
yamanote_preempt_probe:
        pushq   %rax
        pushq   %rcx
        pushq   %rdx
        movq    24(%rsp), %rax
        movslq  (%rax), %rcx
        addq    %rcx, %rax
        movq    %rax, 24(%rsp)
        lfence
        rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        subq    gap_last(%rip), %rax
        movl    gap_next(%rip), %ecx
        cmpl    $4194304, %ecx
        jae     1f
        leaq    gap_ticks(%rip), %rdx
        movl    %eax, (%rdx,%rcx,4)
        incl    gap_next(%rip)
1:      rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        movq    %rax, gap_last(%rip)
        popq    %rdx
        popq    %rcx
        popq    %rax
        ret     $128
        .size   yamanote_preempt_probe, . - yamanote_preempt_probe
        .section .note.GNU-stack, "", @progbits
