#!/bin/sh
# SPDX-License-Identifier: MIT
# tests/unit/test_explain.sh - `standin explain vmcb`: golden outputs and exit codes.
# usage: test_explain.sh STANDIN
set -u
standin=$(realpath "$1") || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
bad=0

# put FILE OFFSET BYTES: octal escapes, least significant byte first
put() {
	printf "$3" | dd of="$1" bs=1 seek=$(($2)) conv=notrunc 2>/dev/null
}

# A VMCB of a 64-bit guest that is right.
good() {
	head -c 4096 /dev/zero > "$1"
	put "$1" 0x10 '\001'
	put "$1" 0x42 '\001'
	put "$1" 0x4a '\002'
	put "$1" 0x58 '\001'
	put "$1" 0x412 '\233\002'
	put "$1" 0x4d0 '\000\035'
	put "$1" 0x548 '\040'
	put "$1" 0x551 '\060'
	put "$1" 0x558 '\021\000\000\200'
	put "$1" 0x560 '\000\004'
	put "$1" 0x568 '\360\017\377\377'
}

# check NAME STATUS ARGS...: the output must be what stdin says
check() {
	name=$1 want=$2
	shift 2
	cat > want.txt
	"$standin" explain "$@" > got.txt 2> err.txt
	got=$?
	if [ $got -ne "$want" ] || ! diff want.txt got.txt; then
		echo "not ok - $name (status $got, should be $want)"
		cat err.txt
		bad=1
	else
		echo "ok - $name"
	fi
}

good valid
check valid 0 vmcb valid <<E
valid: valid
E

good event
put event 0xa8 '\024\003\000\200'
check 'vector 20' 1 vmcb event <<E
event: VMRUN refuses it (VMEXIT_INVALID), 1 rule is violated
  0x0a8 event_inj  EVENT_VECTOR    EVENTINJ type 3 vector 20 is not an exception this CPU has (APM2 15.20)
E

good cp
put cp 0xa8 '\025\013\000\200'
check '#CP without SHSTK' 1 vmcb cp <<E
cp: VMRUN refuses it (VMEXIT_INVALID), 1 rule is violated
  0x0a8 event_inj  EVENT_VECTOR    EVENTINJ type 3 vector 21 is not an exception this CPU has (APM2 15.20)
E
check '#CP with SHSTK' 0 vmcb --features shstk cp <<E
cp: valid
E
check '#CP with SEV-ES only' 1 vmcb --features sev-es cp <<E
cp: VMRUN refuses it (VMEXIT_INVALID), 1 rule is violated
  0x0a8 event_inj  EVENT_VECTOR    EVENTINJ type 3 vector 21 is not an exception this CPU has (APM2 15.20)
E

good ncr3
put ncr3 0x90 '\001'
put ncr3 0xb6 '\001'
check 'nCR3 too high' 1 vmcb ncr3 <<E
ncr3: VMRUN refuses it (VMEXIT_INVALID), 1 rule is violated
  0x0b0 ncr3       NCR3            N_CR3 0x1000000000000 sets bits 0x1000000000000 beyond the physical address size (APM2 15.25.4)
E
check 'nCR3 with 52 bits' 0 vmcb --maxphyaddr 52 ncr3 <<E
ncr3: valid
E
check 'nCR3 without NPT' 0 vmcb --features -npt ncr3 <<E
ncr3: valid
E

head -c 4096 /dev/zero > zero
check 'nothing set' 1 vmcb zero <<E
zero: VMRUN refuses it (VMEXIT_INVALID), 3 rules are violated
  0x4d0 efer       SVME            EFER 0x0: SVME is clear (APM2 15.5.1)
  0x010 intercept  VMRUN_INTERCEPT intercept word 4 0x0: VMRUN is not intercepted (APM2 15.5.1)
  0x058 asid       ASID            ASID 0x0 belongs to the host (APM2 15.5.1)
E

good pat
put pat 0x90 '\001'
put pat 0x668 '\006\003'
check 'G_PAT is shared' 0 vmcb pat <<E
pat: valid
E
check 'G_PAT of its own' 1 vmcb --own-pat pat <<E
pat: VMRUN refuses it (VMEXIT_INVALID), 1 rule is violated
  0x668 g_pat      G_PAT           G_PAT 0x306 holds memory type 0x3 (APM2 15.25.4)
E

good fields
put fields 0x70 '\116'
check 'fields' 0 vmcb --fields fields <<E
fields: valid
  0x000 intercept         00000000 00000000 00000000 00000000 00000001 00000000  intercepts, by number
  0x040 iopm              0000000000010000  IOPM_BASE_PA
  0x048 msrpm             0000000000020000  MSRPM_BASE_PA
  0x058 asid              00000001  guest ASID
  0x070 exit_code         000000000000004e  EXITCODE: EXCP_PF
  0x410 cs                0000 attrib 29b limit 00000000 base 0000000000000000  CS
  0x4d0 efer              0000000000001d00  EFER
  0x548 cr4               0000000000000020  CR4
  0x550 cr3               0000000000003000  CR3
  0x558 cr0               0000000080000011  CR0
  0x560 dr7               0000000000000400  DR7
  0x568 dr6               00000000ffff0ff0  DR6
E

# Errors: nothing on stdout, status 2.
head -c 4095 /dev/zero > short
head -c 4097 /dev/zero > long
check 'no verb' 2 < /dev/null
check 'no file named' 2 vmcb < /dev/null
check 'no such file' 2 vmcb missing < /dev/null
check 'too short' 2 vmcb short < /dev/null
check 'too long' 2 vmcb long < /dev/null
check 'unknown feature' 2 vmcb --features npt,bogus valid < /dev/null
check 'unknown option' 2 vmcb --bogus valid < /dev/null
check 'bad width' 2 vmcb --maxphyaddr 99 valid < /dev/null
check 'two files' 2 vmcb valid valid < /dev/null
check 'no value' 2 vmcb valid --features < /dev/null

if ! "$standin" explain vmcb - < valid | grep -qx -- '-: valid'; then
	echo 'not ok - standard input'
	bad=1
fi
exit $bad
