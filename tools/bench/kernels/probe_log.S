// probe_log.S - the kernels' flag, and a probe that notes the time since the last one.
//
// layouts.sh makes the kernels' probes ask these instead of the runtime. While the
// flag is zero a probe costs what it costs elsewhere; probe_log.h sets it to see
// every probe. One kernel thread at a time: the log is a global.

        .section .tbss, "awT", @nobits
        .globl  yamanote_bench_flag, yamanote_bench_guard
        .type   yamanote_bench_flag, @tls_object
        .type   yamanote_bench_guard, @tls_object
        .p2align 6
yamanote_bench_flag:
        .zero   64
yamanote_bench_guard:
        .zero   8
        .size   yamanote_bench_flag, 1
        .size   yamanote_bench_guard, 8

        // struct ProbeLog: where the next gap goes, where there is no more room, the
        // time-stamp at the end of the last probe.
        .bss
        .globl  yamanote_bench_log
        .type   yamanote_bench_log, @object
        .p2align 6
yamanote_bench_log:
        .zero   24
        .size   yamanote_bench_log, 24
        .set    kNext, 0
        .set    kEnd, 8
        .set    kLast, 16

        .text
        .globl  yamanote_bench_probe
        .type   yamanote_bench_probe, @function
        .p2align 6
yamanote_bench_probe:
        pushq   %rax
        pushq   %rcx
        pushq   %rdx
        // Below a guarded function nothing gives way, so there the gap goes on.
        movq    yamanote_bench_guard@gottpoff(%rip), %rcx
        movq    %fs:(%rcx), %rdx
        testq   %rdx, %rdx
        jz      1f
        leaq    160(%rsp), %rax         // The function's stack pointer.
        cmpq    %rdx, %rax
        jb      4f
        movq    $0, %fs:(%rcx)          // Left behind by a frame that is no more.

1:      lfence
        rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        subq    yamanote_bench_log+kLast(%rip), %rax
        movq    %rax, %rdx
        shrq    $32, %rdx
        jz      2f
        movl    $-1, %eax               // A second or more.
2:      movq    yamanote_bench_log+kNext(%rip), %rcx
        cmpq    yamanote_bench_log+kEnd(%rip), %rcx
        jae     3f
        movl    %eax, (%rcx)
        addq    $4, %rcx
        movq    %rcx, yamanote_bench_log+kNext(%rip)
3:      rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        movq    %rax, yamanote_bench_log+kLast(%rip)
4:      popq    %rdx
        popq    %rcx
        popq    %rax
        ret
        .size   yamanote_bench_probe, . - yamanote_bench_probe

        // void yamanote_bench_probes(uint64_t count): that many probes with nothing
        // between them, for what the logging itself takes.
        .globl  yamanote_bench_probes
        .type   yamanote_bench_probes, @function
        .p2align 6
yamanote_bench_probes:
1:      leaq    -128(%rsp), %rsp
        call    yamanote_bench_probe
        subq    $-128, %rsp
        decq    %rdi
        jnz     1b
        ret
        .size   yamanote_bench_probes, . - yamanote_bench_probes

        .section .note.GNU-stack, "", @progbits
