/* SPDX-License-Identifier: MIT */
/* tests/run/static.c - a program that the dynamic loader has nothing to do with. */
/* Run: meson test -C build run */
int main(void)
{
	return 0;
}
