// stand_in_probe.S - yamanote_preempt_probe for tests of the plug-in.
//
// Does what docs/probes.md promises and no more: the arithmetic flags, every byte
// below the red zone and the vector registers that are not alive come back changed,
// all others as they were.

        .text
        .globl  yamanote_preempt_probe
        .type   yamanote_preempt_probe, @function
yamanote_preempt_probe:
        .cfi_startproc
        // The probe has skipped the red zone, the call has pushed one word.
        .cfi_def_cfa %rsp, 136
        .cfi_offset %rip, -136
        pushq   %rax
        .cfi_adjust_cfa_offset 8
        pushq   %rcx
        .cfi_adjust_cfa_offset 8
        // Behind the call: an instruction that says what may be alive, one that gives
        // the red zone back, and a jump to where the function goes on, short or long.
        movq    16(%rsp), %rax
        movslq  7(%rax), %rcx
        leaq    11(%rax,%rcx), %rcx
        cmpb    $0xeb, 6(%rax)
        jne     1f
        movsbq  7(%rax), %rcx
        leaq    8(%rax,%rcx), %rcx
1:      movq    %rcx, 16(%rsp)
        movb    1(%rax), %al
        movb    %al, stand_in_alive(%rip)
        pushfq
        .cfi_adjust_cfa_offset 8
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq   %rdx
        .cfi_adjust_cfa_offset 8
        pushq   %rsi
        .cfi_adjust_cfa_offset 8
        pushq   %rdi
        .cfi_adjust_cfa_offset 8
        pushq   %r8
        .cfi_adjust_cfa_offset 8
        pushq   %r9
        .cfi_adjust_cfa_offset 8
        pushq   %r10
        .cfi_adjust_cfa_offset 8
        pushq   %r11
        .cfi_adjust_cfa_offset 8
        movq    %rsp, %rbx
        .cfi_def_cfa_register %rbx
        subq    $512, %rsp
        andq    $-64, %rsp
        fxsave64 (%rsp)
        fninit
        cld
        leaq    224(%rbx), %rdi          // The interrupted stack pointer.
        movq    88(%rbx), %rsi           // Where it goes on.
        call    stand_in_hit
        // Whatever is not restored below is wrong now.
        pcmpeqd %xmm0, %xmm0
        movdqa  %xmm0, %xmm1
        movdqa  %xmm0, %xmm2
        movdqa  %xmm0, %xmm3
        movdqa  %xmm0, %xmm7
        movdqa  %xmm0, %xmm15
        fxrstor64 (%rsp)
        testb   $2, stand_in_alive(%rip)
        jnz     1f
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        pcmpeqd %xmm\n, %xmm\n
        .endr
1:      testb   $1, stand_in_alive(%rip)
        jnz     1f
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7
        pcmpeqd %mm\n, %mm\n
        .endr
        emms
1:      movq    %rbx, %rsp
        .cfi_def_cfa_register %rsp
        popq    %r11
        .cfi_adjust_cfa_offset -8
        popq    %r10
        .cfi_adjust_cfa_offset -8
        popq    %r9
        .cfi_adjust_cfa_offset -8
        popq    %r8
        .cfi_adjust_cfa_offset -8
        popq    %rdi
        .cfi_adjust_cfa_offset -8
        popq    %rsi
        .cfi_adjust_cfa_offset -8
        popq    %rdx
        .cfi_adjust_cfa_offset -8
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        popfq
        .cfi_adjust_cfa_offset -8
        // Carry, zero, sign, overflow and parity in turn, on and off.
        addq    $0x4b, stand_in_noise(%rip)
        movq    stand_in_noise(%rip), %rcx
        rorb    $3, %cl
        cmpb    $0x5a, %cl
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        popq    %rax
        .cfi_adjust_cfa_offset -8
        ret     $128
        .cfi_endproc
        .size   yamanote_preempt_probe, . - yamanote_preempt_probe

        .local  stand_in_noise
        .comm   stand_in_noise, 8, 8
        .local  stand_in_alive
        .comm   stand_in_alive, 1, 1
        .section .note.GNU-stack, "", @progbits
