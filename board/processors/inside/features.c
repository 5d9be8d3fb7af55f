/* What this x86 processor has, as a program sees it; and some of it hidden from the program this is preloaded into:
 * CPUID is made to fault (arch_prctl(2), ARCH_SET_CPUID) and answered here without what PROCESSOR_HIDES names. Only in
 * programs of Python: sound servers and players have fault handlers of their own. */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { EAX, EBX, ECX, EDX };

/* Intel's manual, volume 2A, CPUID */
static const struct {
    const char *name;
    unsigned leaf, subleaf, in, bits;
} features[] = {
    {"avx", 1, 0, ECX, 1u << 28 | 1u << 12 | 1u << 29}, /* and FMA, F16C, which stand on it */
    {"avx2", 7, 0, EBX, 1u << 5},
    /* F, DQ, IFMA, PF, ER, CD, BW, VL; VBMI, VBMI2, BITALG, VPOPCNTDQ; 4VNNIW, 4FMAPS, VP2INTERSECT, FP16; BF16 */
    {"avx512", 7, 0, EBX, 1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31},
    {"avx512", 7, 0, ECX, 1u << 1 | 1u << 6 | 1u << 12 | 1u << 14},
    {"avx512", 7, 0, EDX, 1u << 2 | 1u << 3 | 1u << 8 | 1u << 23},
    {"avx512", 7, 1, EAX, 1u << 5},
    {"avx512_vnni", 7, 0, ECX, 1u << 11},
    {"avx_vnni", 7, 1, EAX, 1u << 4},
    {"avx_vnni", 7, 1, EDX, 1u << 4 | 1u << 10}, /* its INT8 and INT16 */
    {"amx", 7, 0, EDX, 1u << 22 | 1u << 24 | 1u << 25},
};
#define N_FEATURES (sizeof features / sizeof *features)

static int hides(const char *name)
{
    const char *words = getenv("PROCESSOR_HIDES");
    size_t n = strlen(name);
    for (const char *at = words; at && (at = strstr(at, name)); at += n)
        if ((at == words || at[-1] == ' ') && (at[n] == ' ' || !at[n]))
            return 1;
    return 0;
}

static void answer(int number, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *at = (const unsigned char *)registers[REG_RIP];
    unsigned r[4], leaf = (unsigned)registers[REG_RAX], subleaf = (unsigned)registers[REG_RCX];
    if (info->si_code <= 0 || at[0] != 0x0f || at[1] != 0xa2) { /* sent by somebody, or a fault of another kind */
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
    __cpuid_count(leaf, subleaf, r[EAX], r[EBX], r[ECX], r[EDX]);
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
    for (size_t i = 0; i < N_FEATURES; i++)
        if (features[i].leaf == leaf && (leaf != 7 || features[i].subleaf == subleaf) && hides(features[i].name))
            r[features[i].in] &= ~features[i].bits;
    registers[REG_RAX] = r[EAX], registers[REG_RBX] = r[EBX], registers[REG_RCX] = r[ECX], registers[REG_RDX] = r[EDX];
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void)
{
    struct sigaction action;
    if (!getenv("PROCESSOR_HIDES") || strncmp(program_invocation_short_name, "python", 6))
        return;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = answer;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    if (sigaction(SIGSEGV, &action, NULL) || syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0)) {
        fputs("CPUID cannot be made to fault here\n", stderr);
        _exit(99);
    }
}

/* The names of what there is, a space after each. */
void processor_features(char *words, size_t size)
{
    unsigned r[4];
    words[0] = 0;
    for (size_t i = 0; i < N_FEATURES; i++) {
        size_t n = strlen(words);
        if (i && !strcmp(features[i].name, features[i - 1].name))
            continue; /* its first row tells */
        if (!__get_cpuid_count(features[i].leaf, features[i].subleaf, &r[EAX], &r[EBX], &r[ECX], &r[EDX]))
            continue;
        if (r[features[i].in] & features[i].bits)
            snprintf(words + n, size - n, "%s ", features[i].name);
    }
}
