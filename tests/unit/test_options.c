/* SPDX-License-Identifier: MIT */
/* tests/unit/test_options.c - settings from the environment: which values count, what is said. */
/* Run: build/tests/unit/test_options [NAME...] */

#include "tests/unit/unit.h"

#include "base/options.h"
#include "irq/avic.h"

static char said[1024];

static void say(const char *text)
{
	strcat(strcat(said, text), "\n");
}

static const char *check(const char *name, const char *value)
{
	said[0] = 0;
	setenv(name, value, 1);
	options_check(say);
	unsetenv(name);
	return said;
}

T(a_misspelt_name_is_told_with_what_was_meant)
{
	assert_string_equal(check("STANDIN_LGO", "info"),
			    "there is no setting STANDIN_LGO; do you mean STANDIN_LOG?\n");
	assert_string_equal(
		check("STANDIN_HALTPOLL", "0"),
		"there is no setting STANDIN_HALTPOLL; do you mean STANDIN_HALT_POLL?\n");
	assert_string_equal(check("STANDIN_SOMETHING_ELSE", "0"),
			    "there is no setting STANDIN_SOMETHING_ELSE\n");
	assert_string_equal(check("STANDIN_A_NAME_THAT_IS_LONGER_THAN_ANY", "0"),
			    "there is no setting STANDIN_A_NAME_THAT_IS_LONGER_TH...\n");
}

T(a_bad_value_is_told_with_what_is_allowed)
{
	assert_string_equal(
		check("STANDIN_LOG", "loud"),
		"STANDIN_LOG=loud is ignored: it has to be one of error|warn|info|debug|off\n");
	assert_string_equal(check("STANDIN_NODE", "kvm"),
			    "STANDIN_NODE=kvm is ignored: it has to be an absolute path\n");
	assert_string_equal(check("STANDIN_SVM", "avic,avik"),
			    "STANDIN_SVM=avic,avik is ignored: it has to be words of "
			    "decodeassists|avic|x2avic|x2avic-ext with commas\n");
	assert_string_equal(check("STANDIN_CODE_MEM", "160"),
			    "STANDIN_CODE_MEM=160 is ignored: it has to be a number in 1..159\n");
	/* Of strtoull()'s many ways to write a number, one. */
	for (size_t i = 0; i < 5; i++)
		assert_string_not_equal(check("STANDIN_HALT_POLL", (const char *[]){ "-1", " 1",
			"+1", "1x",
					"99999999999999999999" }[i]), "");
}

T(good_and_empty_values_are_silent)
{
	assert_string_equal(check("STANDIN_LOG", "off"), "");
	assert_string_equal(check("STANDIN_LOG", ""), "");
	assert_string_equal(check("STANDIN_SVM", "avic,,x2avic"), "");
	assert_string_equal(check("STANDIN_HALT_POLL", "0"), "");
	assert_string_equal(check("STANDIN_HALT_POLL", "4294967295"), "");
	assert_string_equal(check("STANDIN_OFF", ""), "");
	assert_string_equal(check("OTHER_LGO", "info"), "");
}

T(what_is_not_allowed_counts_as_not_given)
{
	setenv("STANDIN_HALT_POLL", "1e3", 1);
	setenv("STANDIN_AVIC", "avik", 1);
	setenv("STANDIN_NODE", "", 1);
	assert_int_equal(option_number(OPT_HALT_POLL, 7), 7);
	assert_int_equal(option_word(OPT_AVIC), -1);
	assert_null(option_text(OPT_NODE));
	assert_false(option_given(OPT_UNIT));
	unsetenv("STANDIN_HALT_POLL");
	unsetenv("STANDIN_AVIC");
	unsetenv("STANDIN_NODE");
	assert_int_equal(option_number(OPT_HALT_POLL, 7), 7);
}

T(a_list_has_the_words_that_it_has)
{
	setenv("STANDIN_SVM", "x2avic-ext,avic", 1);
	assert_true(option_has(OPT_SVM, "avic"));
	assert_true(option_has(OPT_SVM, "x2avic-ext"));
	assert_false(option_has(OPT_SVM, "x2avic"));
	unsetenv("STANDIN_SVM");
	assert_false(option_has(OPT_SVM, "avic"));
}

/* vm/irqchip.c goes by the order. */
T(the_words_of_avic_are_those_of_the_model)
{
#define X(n, text, max) \
	setenv("STANDIN_AVIC", text, 1); \
	assert_int_equal(option_word(OPT_AVIC), AVIC_KIND_##n);
	AVIC_KINDS(X)
#undef X
	unsetenv("STANDIN_AVIC");
}

T_START(argc, argv)
{
#define X(name, ...) unsetenv("STANDIN_" #name);
	OPTIONS(X)
#undef X
	return 0;
}
