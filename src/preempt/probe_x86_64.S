// probe_x86_64.S - where a probe goes when its core's flag is set (x86-64).
//
// docs/probes.md has the contract with the compiler plug-ins. In short: a probe's
// cold part has skipped the red zone and called yamanote_preempt_probe. Behind that call
// it gives the red zone back and jumps to where the function goes on; an instruction
// without effect says which registers may be alive. To the function, nothing happens but
// a change of the arithmetic flags.
//
// Vector registers are saved if they may be alive and are in use (XGETBV with ECX=1
// says), not with XSAVE and XRSTOR: a probe that is asked and does not switch takes
// 40 ns so, 203 with those (2-vCPU AMD Zen 5 VM, 2026-11-26, least of 30 rounds of
// 2,000). What is in use is not enough: the C library's string functions leave
// AVX-512's upper registers in use in every thread for good.
// Upper halves are made zero, so that code without AVX behind the probe is not slowed
// down.
//
// x87's modes and flags are as they were at the start of a program in nearly every task,
// and then nothing of x87 is saved unless its registers may be alive: FXSAVE and FXRSTOR
// are a fifth of a preemption on processors that count x87 as in use for good (AMD).
//
// The frame, from %rbp upwards: %rbp, where the function goes on (unwinders see it as
// the caller), the red zone. Below: rax rcx rdx rsi rdi r8-r11, what is saved (4 bytes)
// and mxcsr (4), x87's control word (4, and 4 unused), the address to return to (8, and 8
// unused), then the area, aligned to 64, no larger than it must be: a preempted task's
// stack is cold when it goes on.
//
// It returns to the cold part, not to where the function goes on: a return that the
// processor does not predict takes 28 ns (2-vCPU AMD VM, 2026-11-26).
//   none         0
//   SSE only   256   xmm0-15
//   AVX        512   ymm0-15
//   else      2624   xmm, ymm or zmm0-15 (64 bytes each), zmm16-31 (at 1024),
//                    k0-7 (2048), FXSAVE (2112)
//   kFxsave, kXsave: the area of FXSAVE at 2112; of XSAVE (2688 at most: no PKRU, no
//   AMX), for which it is 2752.

        .set    kSseArea, 256
        .set    kAvxArea, 512
        .set    kArea, 2752
        .set    kFxsave, 2112
        .set    kSaved, -80             // From %rbp; bits as in XCR0.
        .set    kMxcsr, -76
        .set    kX87Control, -84
        .set    kInitialX87Control, 0x37f
        .set    kReturn, -96
        // x87, AVX-512's three.
        .set    kNeedsAll, 0xe1
        .set    kInitialMxcsr, 0x1f80
        // What may be alive at an instruction of which nothing is known.
        .set    kAllAlive, 0xe7
        // Bits of XCR0 that are saved: x87, SSE, AVX, the three of AVX-512.
        .set    kXsaveMask, 0xe7

// ---- The kernel thread's state; flag.h declares it
        .section .tbss, "awT", @nobits
        .globl  yamanote_preempt_flag, yamanote_preempt_state
        .globl  yamanote_preempt_guard, yamanote_preempt_disabled
        .globl  yamanote_preempt_mxcsr
        .type   yamanote_preempt_flag, @tls_object
        .type   yamanote_preempt_state, @tls_object
        .type   yamanote_preempt_guard, @tls_object
        .type   yamanote_preempt_disabled, @tls_object
        .type   yamanote_preempt_mxcsr, @tls_object
        .type   yamanote_preempt_skips, @tls_object
        .p2align 6
yamanote_preempt_state:
        // flag (1 byte), and the rest of a line that whoever keeps time writes.
yamanote_preempt_flag:
        .zero   64
        // A line of the thread's own.
yamanote_preempt_guard:
        .zero   8
yamanote_preempt_disabled:
        .zero   4
yamanote_preempt_mxcsr:
        .zero   4
yamanote_preempt_skips:
        .zero   48
        .size   yamanote_preempt_flag, 1
        .size   yamanote_preempt_guard, 8
        .size   yamanote_preempt_disabled, 4
        .size   yamanote_preempt_mxcsr, 4
        .size   yamanote_preempt_state, 128

        .hidden yamanote_preempt_vectors, yamanote_preempt_hit

        .text

// ---- The probe's cold part calls this --------------------------------------
        .globl  yamanote_preempt_probe
        .type   yamanote_preempt_probe, @function
        .p2align 6
yamanote_preempt_probe:
        .cfi_startproc
        // The caller is the function that was preempted: its frame begins above
        // the red zone.
        .cfi_def_cfa    %rsp, 136
        .cfi_offset     %rip, -136
        pushq   %rax
        .cfi_def_cfa_offset 144
        movq    yamanote_preempt_skips@gottpoff(%rip), %rax
        cmpl    $0, %fs:(%rax)
        jne     .Lskip
        popq    %rax
        .cfi_def_cfa_offset 136
        pushq   %rbp
        .cfi_def_cfa_offset 144
        .cfi_offset     %rbp, -144
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        .irp    register, rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
        pushq   %\register
        .endr
        .cfi_offset     %rax, -152
        .cfi_offset     %rcx, -160
        .cfi_offset     %rdx, -168
        .cfi_offset     %rsi, -176
        .cfi_offset     %rdi, -184
        .cfi_offset     %r8, -192
        .cfi_offset     %r9, -200
        .cfi_offset     %r10, -208
        .cfi_offset     %r11, -216
        subq    $32, %rsp
        // Behind the call:     a8 ALIVE                testb $ALIVE, %al
        //                      48 83 ec 80             subq $-128, %rsp
        //                      e9 OFFSET               jmp (by hand maybe eb OFFSET)
        movq    8(%rbp), %rax
        movq    %rax, kReturn(%rbp)
        movzbl  1(%rax), %r8d
        cmpb    $0xeb, 6(%rax)
        jne     1f
        movsbq  7(%rax), %rcx
        leaq    8(%rax,%rcx), %rcx
        jmp     2f
1:      movslq  7(%rax), %rcx
        leaq    11(%rax,%rcx), %rcx
2:      movq    %rcx, 8(%rbp)

        // Not now? (flag.h: disabled, guard)
        movq    yamanote_preempt_disabled@gottpoff(%rip), %rax
        cmpl    $0, %fs:(%rax)
        jne     .Lout
        movq    yamanote_preempt_guard@gottpoff(%rip), %rax
        movq    %fs:(%rax), %rcx
        testq   %rcx, %rcx
        jz      .Lgo
        leaq    144(%rbp), %rax         // The function's stack pointer.
        cmpq    %rcx, %rax
        jb      .Lout
        // Left behind by a frame that is no more.
        movq    yamanote_preempt_guard@gottpoff(%rip), %rax
        movq    $0, %fs:(%rax)
.Lgo:
        cld
        movzbl  yamanote_preempt_vectors(%rip), %eax
        cmpb    $1, %al
        je      .Lin_use
        subq    $kArea, %rsp
        andq    $-64, %rsp
        testb   %al, %al
        jnz     .Lxsave
        fxsave64 kFxsave(%rsp)
        fninit
        jmp     .Lcontrol

.Lin_use:
        // eax: 0 x87, 1 SSE, 2 upper halves of ymm0-15, 5 masks, 6 upper halves of
        // zmm0-15, 7 zmm16-31. SSE's are alive even if all are zero.
        movl    $1, %ecx
        xgetbv
        testb   $1, %al
        jz      2f
        movl    %eax, %ecx
        fnstcw  kX87Control(%rbp)
        fnstsw  %ax
        testw   %ax, %ax                // Exceptions, or registers in use.
        jnz     1f
        movzwl  kX87Control(%rbp), %eax
        cmpl    $kInitialX87Control, %eax
        je      3f
1:      orl     $1, %r8d
3:      movl    %ecx, %eax
2:      orl     $2, %eax
        andl    %r8d, %eax
        movl    %eax, kSaved(%rbp)
        stmxcsr kMxcsr(%rbp)
        testl   $kNeedsAll, %eax
        jnz     .Lsave_all
        testl   $4, %eax
        jnz     .Lsave_avx
        andq    $-64, %rsp
        testl   $2, %eax
        jz      .Lclean
        subq    $kSseArea, %rsp
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movups  %xmm\n, 16*\n(%rsp)
        .endr
        jmp     .Lclean
.Lsave_avx:
        subq    $kAvxArea, %rsp
        andq    $-64, %rsp
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovups %ymm\n, 32*\n(%rsp)
        .endr
.Lclean:
        vzeroupper                      // Others run with clean upper halves.
        jmp     .Lcontrol

        // x87 or AVX-512. Registers of the latter only if it is in use: there may be none.
.Lsave_all:
        subq    $kArea, %rsp
        andq    $-64, %rsp
        testl   $0xe0, %eax
        jnz     .Lsave_avx512
        testl   $4, %eax
        jnz     1f
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movups  %xmm\n, 64*\n(%rsp)
        .endr
        jmp     4f
1:      .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovups %ymm\n, 64*\n(%rsp)
        .endr
        jmp     4f
.Lsave_avx512:
        testl   $0x44, %eax
        jnz     1f
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movups  %xmm\n, 64*\n(%rsp)
        .endr
        jmp     2f
1:      .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovups %zmm\n, 64*\n(%rsp)
        .endr
2:      testl   $0x80, %eax
        jz      3f
        .irp    n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        vmovups %zmm\n, 64*\n(%rsp)
        .endr
3:      testl   $0x20, %eax
        jz      4f
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7
        kmovq   %k\n, 2048+8*\n(%rsp)
        .endr
4:      // Others run with the upper halves clean and the x87 registers empty.
        testl   $1, %eax
        jz      .Lclean
        fxsave64 kFxsave(%rsp)
        fninit
        jmp     .Lclean

.Lxsave:
        leaq    512(%rsp), %rdi         // Its header must begin as zeros.
        xorl    %eax, %eax
        movl    $8, %ecx
        rep stosq
        movl    $kXsaveMask, %eax
        xorl    %edx, %edx
        xsave64 (%rsp)
        fninit
        vzeroupper

.Lcontrol:
        // Rounding and exceptions for others as the kernel thread began.
        movq    yamanote_preempt_mxcsr@gottpoff(%rip), %rax
        movl    %fs:(%rax), %ecx
        testl   %ecx, %ecx
        jnz     1f
        movl    $kInitialMxcsr, %ecx
1:      pushq   %rcx
        ldmxcsr (%rsp)
        popq    %rcx

        leaq    144(%rbp), %rdi
        call    yamanote_preempt_hit

        movzbl  yamanote_preempt_vectors(%rip), %eax
        cmpb    $1, %al
        je      .Lwas_in_use
        testb   %al, %al
        jnz     .Lxrstor
        fxrstor64 kFxsave(%rsp)
        jmp     .Lout

.Lwas_in_use:
        movl    kSaved(%rbp), %eax
        testl   $kNeedsAll, %eax
        jnz     .Lload_all
.Lx87_was_initial:
        // Others may have left modes or flags behind.
        movl    %eax, %ecx
        fnstcw  kX87Control(%rbp)
        fnstsw  %ax
        testw   %ax, %ax
        jnz     1f
        movzwl  kX87Control(%rbp), %eax
        cmpl    $kInitialX87Control, %eax
        je      2f
1:      fninit
2:      movl    %ecx, %eax
        testl   $kNeedsAll, %eax
        jnz     .Lload_vectors
        // What is above xmm is not alive or was zero, or is loaded below.
        vzeroupper
        testl   $4, %eax
        jnz     .Lload_avx
        testl   $2, %eax
        jz      .Lload_mxcsr
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movups  16*\n(%rsp), %xmm\n
        .endr
        jmp     .Lload_mxcsr
.Lload_avx:
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovups 32*\n(%rsp), %ymm\n
        .endr
        jmp     .Lload_mxcsr

.Lload_all:
        testl   $1, %eax
        jz      .Lx87_was_initial
        fxrstor64 kFxsave(%rsp)         // Before the vectors: it loads xmm0-15 too.
.Lload_vectors:
        vzeroupper
        testl   $0xe0, %eax
        jnz     .Lload_avx512
        testl   $4, %eax
        jnz     1f
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movups  64*\n(%rsp), %xmm\n
        .endr
        jmp     .Lload_mxcsr
1:      .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovups 64*\n(%rsp), %ymm\n
        .endr
        jmp     .Lload_mxcsr
.Lload_avx512:
        testl   $0x44, %eax
        jnz     1f
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movups  64*\n(%rsp), %xmm\n
        .endr
        jmp     2f
1:      .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovups 64*\n(%rsp), %zmm\n
        .endr
2:      testl   $0x80, %eax
        jz      3f
        .irp    n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        vmovups 64*\n(%rsp), %zmm\n
        .endr
3:      testl   $0x20, %eax
        jz      .Lload_mxcsr
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7
        kmovq   2048+8*\n(%rsp), %k\n
        .endr
.Lload_mxcsr:
        ldmxcsr kMxcsr(%rbp)
        jmp     .Lout
.Lxrstor:
        movl    $kXsaveMask, %eax
        xorl    %edx, %edx
        xrstor64 (%rsp)
.Lout:
        movq    kReturn(%rbp), %rax
        movq    %rax, 8(%rbp)
        leaq    -72(%rbp), %rsp
        .irp    register, r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax, rbp
        popq    %\register
        .endr
        .cfi_def_cfa    %rsp, 136
        .cfi_restore    %rbp
        ret
        .cfi_endproc

        // One of those that a core lets pass while it asks itself.
        .cfi_startproc
        .cfi_def_cfa    %rsp, 144
        .cfi_offset     %rip, -136
        .cfi_offset     %rax, -144
.Lskip: subl    $1, %fs:(%rax)
        popq    %rax
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_endproc
        .size   yamanote_preempt_probe, .-yamanote_preempt_probe

// ---- An interrupted thread goes on here (interrupt.h) -----------------------
// Above: the address where it stood, then the red zone. As a probe, but nothing
// was prepared for it: the arithmetic flags are kept too.
        .globl  yamanote_preempt_injected
        .hidden yamanote_preempt_injected
        .type   yamanote_preempt_injected, @function
        .p2align 6
yamanote_preempt_injected:
        .cfi_startproc
        // The caller stands at the address itself, not behind a call.
        .cfi_signal_frame
        .cfi_def_cfa    %rsp, 136
        .cfi_offset     %rip, -136
        pushfq
        .cfi_adjust_cfa_offset 8
        leaq    -128(%rsp), %rsp
        .cfi_adjust_cfa_offset 128
        call    yamanote_preempt_probe
        // As a probe's: data, so that no assembler puts anything between.
        .byte   0xa8, kAllAlive, 0x48, 0x83, 0xec, 0x80, 0xe9
        .long   1f - . - 4
1:      .cfi_adjust_cfa_offset -128
        popfq
        .cfi_adjust_cfa_offset -8
        ret     $128
        .cfi_endproc
        .size   yamanote_preempt_injected, .-yamanote_preempt_injected

        .section .note.GNU-stack,"",@progbits
