/* SPDX-License-Identifier: MIT */
/* Trace points, their area, their text, and the spans made of them. */
/* Run: build/tests/unit/test_trace [NAME...] */
#include "tests/unit/unit.h"

#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <unistd.h>

#include "base/trace.h"
#include "irq/apicv.h"
#include "svm/checks.h"
#include "tools/trace_area.h"
#include "tools/trace_exits.h"
#include "tools/trace_spans.h"

static struct trace_reader rd;

static int begin(void **state)
{
	trace_init(1000000);	/* 1 GHz: a tick is a nanosecond */
	rd = (struct trace_reader){ .area = trace_area, .next = atomic_load(&trace_area->head) };
	atomic_store(&trace_area->recorded, ~0ull);
	atomic_store(&trace_area->watched, ~0ull);
	return 0;
}

T(formats_have_one_field_for_each_argument)
{
	static const struct { const char *name; u32 n; const char *f; } events[] = {
#define X(n, a, f) { #n, a, f },
		TRACE_EVENTS(X)
#undef X
	};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		bool rest = strstr(events[i].f, ":refusal}");
		u32 fields = 0;

		for (const char *p = events[i].f; *p; p++)
			fields += *p == '{';
		if (rest ? fields > events[i].n : fields != events[i].n)
			fail_msg("%s: %u fields, %u arguments", events[i].name, fields,
				 events[i].n);
		assert_true(events[i].n <= TRACE_MAX_ARGS);
	}
	assert_true(APICV_INHIBIT_COUNT <= TRACE_REASONS);
}

T(a_record_comes_out_as_it_went_in)
{
	struct trace_record r;
	char text[128];

	trace(kvm_eoi, 3, 7, 7, 0x31, 1, 2);
	assert_int_equal(trace_read(&rd, &r), 1);
	assert_int_equal(r.event, TRACE_kvm_eoi);
	assert_int_equal(r.vm, 3);
	assert_int_equal(r.vcpu, 7);
	assert_int_equal(r.tid, (u32)gettid());
	trace_format(&r, text, sizeof(text));
	assert_string_equal(text, "apicid 7 vector 49 (level, suppress-disabled)");
	assert_int_equal(trace_read(&rd, &r), 0);
}

T(a_refused_vmrun_says_why)
{
	struct trace_record r;
	char text[256];

	trace(kvm_nested_vmenter_failed, 0, 0, SVM_RULE_EVENT_VECTOR, 0x80000314, 0);
	assert_int_equal(trace_read(&rd, &r), 1);
	trace_format(&r, text, sizeof(text));
	assert_string_equal(text, "EVENTINJ type 3 vector 20 is not an exception this CPU has "
				  "(APM2 15.20)");
}

T(an_event_nobody_watches_is_not_recorded)
{
	struct trace_record r;

	atomic_store(&trace_area->watched, BIT64(TRACE_kvm_msr));
	atomic_store(&trace_area->recorded, BIT64(TRACE_kvm_msr));
	trace(kvm_inj_nmi, 0, 0);
	trace(kvm_msr, 0, 0, 1, 0xc0000080, 0xd01, 0);
	assert_int_equal(trace_read(&rd, &r), 1);
	assert_int_equal(r.event, TRACE_kvm_msr);
	assert_int_equal(trace_read(&rd, &r), 0);
}

T(counting_needs_no_records)
{
	u16 vm = trace_vm_add(1);
	struct trace_record r;

	atomic_store(&trace_area->recorded, 0);
	atomic_store(&trace_area->counted, ~0ull);
	for (u32 i = 0; i < 5; i++)
		trace(kvm_inj_nmi, vm, 0);
	assert_int_equal(atomic_load(&trace_vm_get(vm)->count[TRACE_kvm_inj_nmi]), 5);
	assert_int_equal(trace_read(&rd, &r), 0);
	atomic_store(&trace_area->counted, 0);
	trace_vm_remove(vm);
	assert_false(atomic_load(&trace_vm_get(vm)->alive));
}

T(a_slow_reader_is_told_what_it_missed)
{
	struct trace_record r;
	u64 n = 0, last = 0;

	for (u64 i = 0; i < TRACE_RING + 1000; i++)
		trace(kvm_entry, 0, 0, i + 1);
	while (trace_read(&rd, &r)) {
		assert_true(r.arg[0] > last);
		last = r.arg[0];
		n++;
	}
	assert_int_equal(last, TRACE_RING + 1000);
	assert_int_equal(n + rd.lost, TRACE_RING + 1000);
	assert_true(rd.lost >= 1000);
}

static void *writer(void *arg)
{
	for (u64 i = 0; i < 20000; i++)
		trace(kvm_mmio, 0, (s32)(intptr_t)arg, 1, 4, i, ~i);
	return NULL;
}

T(writers_on_many_threads_do_not_mix)
{
	struct trace_record r;
	pthread_t t[4];
	u64 seen[4] = { 0 };

	for (intptr_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, writer, (void *)i), 0);
	for (u32 i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	while (trace_read(&rd, &r)) {
		assert_int_equal(r.arg[2], seen[r.vcpu]++);
		assert_int_equal(r.arg[3], ~r.arg[2]);
	}
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(seen[i], 20000);
}

T(names_are_chosen_by_wildcards)
{
	assert_int_equal(area_events("kvm_eoi"), BIT64(TRACE_kvm_eoi));
	assert_int_equal(area_events("kvm_eoi,standin_remote*"),
			 BIT64(TRACE_kvm_eoi) | BIT64(TRACE_standin_remote_irr));
	assert_int_equal(area_events("nonsense"), 0);
	assert_false(area_events(NULL) & BIT64(TRACE_kvm_entry));
}

/* -- spans -- */

static u64 clock_now;

static void feed(struct spans *s, u16 event, s16 vcpu, u64 a, u64 b, u64 c, u64 d)
{
	struct trace_record r = {
		.tsc = trace_area->tsc + clock_now, .event = event, .vcpu = vcpu, .tid = 1,
		.arg = { a, b, c, d },
	};

	clock_now += 1000000;	/* a millisecond each */
	spans_record(s, &r);
}

static char *run(void (*script)(struct spans *), u32 *found, char **table)
{
	char *json = NULL;
	size_t json_size, table_size;
	FILE *f = open_memstream(&json, &json_size), *t = open_memstream(table, &table_size);
	struct spans *s = spans_begin(f, trace_area);

	clock_now = 0;
	/* Storms are counted by the millisecond: begin with one. */
	trace_area->ns -= trace_area->ns % 1000000;
	trace_area->tsc_khz = 1000000;
	script(s);
	spans_end(s, trace_ns(trace_area, trace_area->tsc + clock_now));
	*found = spans_report(s, t);
	spans_free(s);
	fclose(f);
	fclose(t);
	return json;
}

static u32 count(const char *text, const char *what)
{
	u32 n = 0;

	for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
		n++;
	return n;
}

static void level_interrupt(struct spans *s)
{
	feed(s, TRACE_kvm_set_irq, -1, 10, 1, 0, 0);
	feed(s, TRACE_kvm_apic_accept_irq, -1, 0, 0x31, 0, 1);
	feed(s, TRACE_standin_remote_irr, -1, 10, 0x31, 1, 0);
	feed(s, TRACE_kvm_inj_virq, 0, 0x31, 0, 0, 0);
	feed(s, TRACE_kvm_eoi, 0, 0, 0x31, 1, 0);
	feed(s, TRACE_standin_remote_irr, -1, 10, 0x31, 0, 0);
}

T(a_level_interrupt_is_a_span_until_the_ioapic_heard_of_its_eoi)
{
	u32 found;
	char *table, *json = run(level_interrupt, &found, &table);

	assert_int_equal(found, 0);
	assert_int_equal(count(json, "\"name\":\"vCPU 0 vector 0x31\""), 2);
	assert_int_equal(count(json, "\"name\":\"IRR\""), 2);
	assert_int_equal(count(json, "\"name\":\"ISR\""), 2);
	assert_int_equal(count(json, "until I/O APIC EOI"), 2);
	assert_int_equal(count(json, "Remote IRR (vector 0x31)"), 1);
	assert_non_null(strstr(json, "\"cause\":\"kvm_set_irq: gsi 10 level 1"));
	/* 2 ms in IRR, 1 ms in ISR */
	assert_non_null(strstr(table, "2000.000     2000.000     1000.000     1000.000"));
	free(json);
	free(table);
}

static void stuck_line(struct spans *s)
{
	feed(s, TRACE_kvm_apic_accept_irq, -1, 0, 0x31, 0, 1);
	feed(s, TRACE_standin_remote_irr, -1, 10, 0x31, 1, 0);
	feed(s, TRACE_kvm_inj_virq, 0, 0x31, 0, 0, 0);
	feed(s, TRACE_kvm_eoi, 0, 0, 0x31, 1, 1);
	for (u32 i = 0; i < 20; i++)
		feed(s, TRACE_kvm_msr, 0, 0, 0x10, 0, 0);
	feed(s, TRACE_kvm_apic_accept_irq, -1, 0, 0x41, 0, 0);
	for (u32 i = 0; i < 20; i++)
		feed(s, TRACE_kvm_msr, 0, 0, 0x10, 0, 0);
}

static void power_off(struct spans *s)
{
	feed(s, TRACE_kvm_apic_accept_irq, -1, 0, 0x31, 0, 0);
	feed(s, TRACE_kvm_inj_virq, 0, 0x31, 0, 0, 0);
	feed(s, TRACE_kvm_eoi, 0, 0, 0x31, 0, 0);
	feed(s, TRACE_kvm_apic_accept_irq, -1, 0, 0x41, 0, 0);
	feed(s, TRACE_kvm_userspace_exit, 0, 8, 0, 0, 0);
	for (u32 i = 0; i < 20; i++)
		feed(s, TRACE_kvm_set_irq, -1, 10, 1, 0, 0);
}

T(what_a_vcpu_that_has_stopped_did_not_take_is_not_reported)
{
	u32 found;
	char *table, *json = run(power_off, &found, &table);

	assert_int_equal(found, 0);
	assert_null(strstr(table, "not taken"));
	free(json);
	free(table);
}

static void exit_at(struct exits *e, u16 event, u64 us, s16 vcpu, u64 reason, s64 error)
{
	struct trace_record r = { .event = event, .vcpu = vcpu, .arg = { reason, (u64)error } };

	exits_record(e, &r, us * 1000);
}

T(exits_are_counted_by_reason_with_the_time_in_the_vmm)
{
	struct exits *e = exits_begin();
	size_t size;
	char *table;
	FILE *f = open_memstream(&table, &size);

	exit_at(e, TRACE_standin_run, 1, 0, 0, 0);	/* began before the trace */
	exit_at(e, TRACE_kvm_userspace_exit, 1000, 0, KVM_EXIT_IO, 0);
	exit_at(e, TRACE_kvm_userspace_exit, 1100, 1, KVM_EXIT_MMIO, 0);
	exit_at(e, TRACE_standin_run, 1500, 1, 0, 0);
	exit_at(e, TRACE_standin_run, 3000, 0, 0, 0);
	exit_at(e, TRACE_kvm_userspace_exit, 4000, 0, KVM_EXIT_IO, 0);
	exit_at(e, TRACE_standin_run, 8000, 0, 0, 0);
	exit_at(e, TRACE_kvm_userspace_exit, 9000, 0, KVM_EXIT_IO, -EINTR);
	exit_at(e, TRACE_kvm_msr, 1000001, 0, 0, 0);
	exits_report(e, f);
	exits_free(e);
	fclose(f);
	assert_non_null(strstr(
		table, "KVM_EXIT_IO                               2  50.0          2        6.000"
		       "     3000.000     4000.000"));
	assert_non_null(strstr(
		table, "KVM_EXIT_MMIO                             1  25.0          1        0.400"
		       "      400.000      400.000"));
	assert_non_null(strstr(table, "(a signal)                                1"));
	assert_non_null(strstr(table, "msr                                       1"));
	free(table);
}

T(a_stuck_remote_irr_and_an_interrupt_never_taken_are_reported)
{
	u32 found;
	char *table, *json = run(stuck_line, &found, &table);

	assert_int_equal(found, 3);
	assert_non_null(strstr(table, "stuck: vm 0 I/O APIC pin 10"));
	assert_non_null(strstr(table, "no I/O APIC EOI: vm 0 vCPU 0 ended vector 0x31"));
	assert_non_null(strstr(table, "not taken: vm 0 vCPU 0 has vector 0x41"));
	/* What is open is closed, so that the trace can be read. */
	assert_int_equal(count(json, "\"ph\":\"b\""), count(json, "\"ph\":\"e\""));
	assert_int_equal(count(json, "\"ph\":\"B\""), count(json, "\"ph\":\"E\""));
	free(json);
	free(table);
}

static void storm(struct spans *s)
{
	/* Enough for one of two milliseconds, wherever the border falls. */
	for (u32 i = 0; i < 250; i++) {
		feed(s, TRACE_kvm_apic_accept_irq, -1, 0, 0x31, 0, 1);
		feed(s, TRACE_kvm_inj_virq, 0, 0x31, 0, 0, 0);
		feed(s, TRACE_kvm_eoi, 0, 0, 0x31, 1, 0);
		clock_now -= 3000000 - 3000;
	}
}

T(a_storm_is_reported)
{
	u32 found;
	char *table, *json = run(storm, &found, &table);

	assert_int_equal(found, 1);
	assert_non_null(strstr(table, "storm: vm 0 vCPU 0 took vector 0x31"));
	assert_non_null(strstr(json, "interrupts per ms: vCPU 0 vector 0x31"));
	free(json);
	free(table);
}

T_EACH(begin, NULL);
