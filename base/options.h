/* SPDX-License-Identifier: MIT */
/*
 * base/options.h - every setting that comes from the environment: one table, from which the parser,
 * `standin --help` and docs/options.md (scripts/options-doc) are made.
 *
 * A value that the table does not allow counts as not given, and so does an empty one (ANY apart);
 * options_check() says so, once, where the process starts.
 */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include "base/types.h"

/*
 * X(NAME, kind, values, group, help, more)
 *
 * kind    WORD: one of values; WORDS: some of them, with commas; NUMBER: in values "LOW..HIGH";
 *         PATH; ANY: it is there, whatever its value, also an empty one
 * group   USER: for everybody; DEVEL: finds faults in standin itself; SCRIPTS: not for the library;
 *         OWN: set by our own programs, not documented
 * help    one line of `standin --help`; more: what docs/options.md says besides
 */
#define OPTIONS(X) \
	X(LOG, WORD, "error|warn|info|debug|off", USER, "how much is logged; nothing without it", \
	  "`info` has each change of the APICv inhibits and why VMRUN was refused") \
	X(LOG_FILE, PATH, "", USER, "where the log goes; else standard error", \
	  "It is appended to. `standin` makes a relative path absolute.") \
	X(NODE, PATH, "", USER, "the node that is taken over (/dev/kvm)", "") \
	X(AVIC, WORD, "none|avic|x2avic|x2avic-ext", USER, "interrupt hardware that is modelled", \
	  "None, or for ids up to 254, 511, 4095 (default). `standin run --avic=` sets it " \
	  "([irq.md](irq.md)).") \
	X(HALT_POLL, NUMBER, "0..4294967295", USER, \
	  "ns that a halted vCPU polls at most (200000); 0: never", \
	  "KVM's `halt_poll_ns`; `KVM_CAP_HALT_POLL` sets it for one VM ([irq.md](irq.md)).") \
	X(SVM, WORDS, "decodeassists|avic|x2avic|x2avic-ext", USER, \
	  "more than KVM offers nested hypervisors", \
	  "In CPUID 0x8000000A ([svm.md](svm.md)). Each word is one bit, so x2AVIC is " \
	  "`avic,x2avic`.") \
	X(PKU, WORD, "1|0", USER, "offer guests protection keys, or not", \
	  "As the host has them. Wholly in software; QEMU on a host without them does not save " \
	  "PKRU.") \
	X(LA57, WORD, "1|0", USER, "1: offer guests 5-level paging", \
	  "Off because guests use it when they see it, and it costs time.") \
	X(PMU, WORD, "0|1", USER, "0: no performance counters for guests", \
	  "KVM's `enable_pmu`. Nothing counts, nothing is slower, until a guest programs one.") \
	X(DIRECT, WORD, "0|1|auto|always", DEVEL, \
	  "1: run user code of the guest directly where that pays", \
	  "An experiment ([direct-execution.md](direct-execution.md)). `auto`: no warning where " \
	  "it cannot. `always`: also where it does not pay.") \
	X(IGNORE_MSRS, NUMBER, "0..1", USER, "1: MSRs that are not there read as 0 and ignore " \
	  "writes", \
	  "KVM's `ignore_msrs`. Otherwise they are #GP, and unknown to the VMM.") \
	X(CPUID, WORD, "0|1", USER, "0: leave the CPUID instruction alone", \
	  "Otherwise it is answered for programs that look for VT-x or AMD-V, where the host can " \
	  "fault on it.") \
	X(HOT, WORD, "0|1", USER, "0: leave system call instructions alone", \
	  "Otherwise those of programs of the second door that make KVM_RUN often are " \
	  "rewritten ([doors.md](doors.md)).") \
	X(OFF, ANY, "", USER, "for a child: do not put it on standin", \
	  "In the environment of a program that is started.") \
	X(ONLY, PATH, "", USER, "put only programs of these names on standin", \
	  "Names of files, with commas. `standin run --only` sets it.") \
	X(EXCEPT, PATH, "", USER, "leave programs of these names alone", \
	  "Names of files, with commas. `standin run --except` sets it.") \
	X(CACHE, PATH, "", SCRIPTS, "where the scripts keep kernels and packages", \
	  "Default: `~/.cache/standin`.") \
	X(SEED, ANY, "", SCRIPTS, "seed of test_irq_random", "") \
	X(PRECISE_FLAGS, ANY, "", DEVEL, "arithmetic flags are exact at every memory access", \
	  "See [engine.md](engine.md).") \
	X(UNIT, ANY, "", DEVEL, "one instruction in each translated unit", \
	  "This, the one before and the next take a range of RIPs, `LOW-HIGH` in hexadecimal: " \
	  "only there.") \
	X(GROUP, ANY, "", DEVEL, "accesses are not checked in groups", "") \
	X(DUMP, PATH, "", DEVEL, "where units of guest and host code go, as text", \
	  "`FILE,LOW-HIGH`: only units whose RIP is in that range.") \
	X(PERFMAP, ANY, "", DEVEL, "name units in /tmp/perf-PID.map for perf", "") \
	X(MOVE, ANY, "", DEVEL, "translations move to other addresses as often as possible", \
	  "See [engine.md](engine.md).") \
	X(CODE_MEM, NUMBER, "1..159", DEVEL, "MiB of translated code for each vCPU (160)", \
	  "Small values make it translate anew often.") \
	X(TRACE, PATH, "", OWN, "the file that `standin trace` shares with its children", "") \
	X(INFO_AGAIN, ANY, "", OWN, "`standin info` has started itself again", "")

enum option {
#define X(name, ...) OPT_##name,
	OPTIONS(X)
#undef X
	OPTION_COUNT
};

/* "STANDIN_LOG" */
const char *option_name(enum option o);
/* The value, if it is one that the table allows; else NULL. PATH: not empty. */
const char *option_text(enum option o);
/* WORD: which of the table's words, from 0; -1: not given. */
int option_word(enum option o);
/* WORDS: is this one of those given? */
bool option_has(enum option o, const char *word);
u64 option_number(enum option o, u64 otherwise);
/* ANY: is it in the environment at all? */
bool option_given(enum option o);

/* May o have this value? */
bool option_allows(enum option o, const char *value);
/* Say what is wrong with the STANDIN_ variables of the environment: names that are none, with what
 * may have been meant, and values that are ignored. Returns how many. */
u32 options_check(void (*say)(const char *text));

#endif
