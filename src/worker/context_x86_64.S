// context_x86_64.S - the context switch for x86-64 (System V ABI).
//
// The frame of a suspended context, from sp upwards:
//   r15 r14 r13 r12 rbx rbp return-address
//
// pop+jmp instead of ret: the return predictor holds the other stack's calls,
// so ret would always be mispredicted (11.3 against 3.4 ns, 4-vCPU AMD VM).

        .text

// void* YamanoteSwitch(Context* from [rdi], Context* to [rsi], void* message [rdx],
//                      const Context* base [rcx])
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
        movq    (%rsi), %rax
        testq   %rax, %rax
        jz      .Lswitch_wait
        movq    $0, (%rsi)
        movq    %rsp, %rcx
        movq    %rax, %rsp
        movq    %rcx, (%rdi)            // Publish: another core may continue us.
.Lswitch_resumed:
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
        // Out of line: the target's core has not published it yet. Whoever waits has
        // published, and his stack is not his any more: a signal's frame must not be
        // put there. Until then the base stack's free end will do.
        .cfi_startproc
        .cfi_undefined %rip
.Lswitch_wait:
        movq    %rsp, %rax
        cmpq    %rdi, %rcx
        je      1f                      // It is the base stack: nobody takes that.
        movq    (%rcx), %rcx
        leaq    -256(%rcx), %rsp        // Beyond its red zone.
1:      movq    %rax, (%rdi)            // Publish.
2:      pause
        movq    (%rsi), %rax
        testq   %rax, %rax
        jz      2b
        movq    $0, (%rsi)
        movq    %rax, %rsp
        jmp     .Lswitch_resumed
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
        // From here on there is no caller: unwinding and backtraces end.
        .cfi_undefined %rip
        movq    %rsp, %rax
        movq    %rsi, %rsp
        movq    %rax, (%rdi)            // Publish, from the new stack.
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
