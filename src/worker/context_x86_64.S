// context_x86_64.S - the context switch for x86-64 (System V ABI).
//
// The frame of a suspended context, from sp upwards:
//   r15 r14 r13 r12 rbx rbp return-address
//
// pop+jmp instead of ret: the return predictor holds the other stack's calls,
// so ret would always be mispredicted (11.3 against 3.4 ns, 4-vCPU AMD VM).

        .text

// void* YamanoteSwitch(Context* from [rdi], Context* to [rsi], void* message [rdx])
        .globl  YamanoteSwitch
        .type   YamanoteSwitch, @function
        .p2align 6
YamanoteSwitch:
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r15, 0
        movq    %rsp, (%rdi)            // Publish: another core may continue us.
        movq    (%rsi), %rax
        testq   %rax, %rax
        jz      .Lswitch_wait
.Lswitch_ready:
        movq    $0, (%rsi)
        movq    %rax, %rsp
        movq    %rdx, %rax
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbp
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rcx
        jmpq    *%rcx
        .cfi_endproc
        // Out of line: the target's core has not published it yet. Our stack is
        // not ours any more, so nothing here may touch it.
        .cfi_startproc
        .cfi_undefined %rip
.Lswitch_wait:
        pause
        movq    (%rsi), %rax
        testq   %rax, %rax
        jz      .Lswitch_wait
        jmp     .Lswitch_ready
        .cfi_endproc
        .size   YamanoteSwitch, .-YamanoteSwitch

// void* YamanoteStart(Context* from [rdi], void* top [rsi], entry [rdx], arg [rcx])
        .globl  YamanoteStart
        .type   YamanoteStart, @function
        .p2align 6
YamanoteStart:
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        movq    %rsp, (%rdi)
        // From here on there is no caller: unwinding and backtraces end.
        .cfi_undefined %rip
        movq    %rsi, %rsp
        xorl    %ebp, %ebp
        movq    %rcx, %rdi
        callq   *%rdx
        ud2
        .cfi_endproc
        .size   YamanoteStart, .-YamanoteStart

// void YamanoteJump(Context* to [rdi], void* message [rsi])
        .globl  YamanoteJump
        .type   YamanoteJump, @function
        .p2align 6
YamanoteJump:
        .cfi_startproc
        .cfi_undefined %rip
        movq    (%rdi), %rax
        testq   %rax, %rax
        jz      .Ljump_wait
.Ljump_ready:
        movq    $0, (%rdi)
        movq    %rax, %rsp
        movq    %rsi, %rax
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbx
        popq    %rbp
        popq    %rcx
        jmpq    *%rcx
.Ljump_wait:
        pause
        movq    (%rdi), %rax
        testq   %rax, %rax
        jz      .Ljump_wait
        jmp     .Ljump_ready
        .cfi_endproc
        .size   YamanoteJump, .-YamanoteJump

        .section .note.GNU-stack,"",@progbits
