// stand_in.S - yamanote_preempt_probe of the tests; see stand_in.h.
//
// On entry: 0(%rsp) the address of an instruction that says what may be alive (the other
// vector registers come back changed), of one that gives the red zone back, and of a
// jump, short or long, to where the function goes on. Above it the 128 bytes of the red
// zone, then the interrupted stack pointer.

        .text
        .globl  yamanote_preempt_probe
        .type   yamanote_preempt_probe, @function
        .p2align 4
yamanote_preempt_probe:
        .cfi_startproc
        .cfi_def_cfa %rsp, 136
        .cfi_offset %rip, -136
        pushq   %rbp
        .cfi_def_cfa_offset 144
        .cfi_offset %rbp, -144
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        pushq   %rax
        pushq   %rcx
        pushq   %rdx
        pushq   %rsi
        pushq   %rdi
        pushq   %r8
        pushq   %r9
        pushq   %r10
        pushq   %r11
        movq    8(%rbp), %rsi
        movzbl  1(%rsi), %ecx
        orl     $-256, %ecx             // Beyond the byte: all.
        pushq   %rcx
        movslq  7(%rsi), %rax
        leaq    11(%rsi,%rax), %rax
        cmpb    $0xeb, 6(%rsi)
        jne     1f
        movsbq  7(%rsi), %rax
        leaq    8(%rsi,%rax), %rax
1:      movq    %rax, %rsi
        movq    %rsi, 8(%rbp)
        leaq    144(%rbp), %rdi
        // The vector and x87 state, wherever the stack is.
        subq    $8192, %rsp
        andq    $-64, %rsp
        xorl    %eax, %eax
        movq    %rax, 512(%rsp)
        movq    %rax, 520(%rsp)
        movq    %rax, 528(%rsp)
        movq    %rax, 536(%rsp)
        movq    %rax, 544(%rsp)
        movq    %rax, 552(%rsp)
        movq    %rax, 560(%rsp)
        movq    %rax, 568(%rsp)
        movl    $-1, %eax
        movl    $-1, %edx
        xsave64 (%rsp)
        fninit
        vzeroall
        call    stand_in_hit
        // Callee-saved registers were kept by the call; spoil none.
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vpcmpeqd %ymm\n, %ymm\n, %ymm\n
        .endr
        movl    -80(%rbp), %eax
        movl    $-1, %edx
        xrstor64 (%rsp)
        leaq    -72(%rbp), %rsp
        popq    %r11
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rdi
        popq    %rsi
        popq    %rdx
        popq    %rcx
        popq    %rax
        popq    %rbp
        .cfi_def_cfa %rsp, 136
        .cfi_restore %rbp
        // All arithmetic flags set.
        pushq   $0x8d5
        popfq
        ret     $128
        .cfi_endproc
        .size   yamanote_preempt_probe, . - yamanote_preempt_probe
        .section .note.GNU-stack, "", @progbits
