"""
A program that makes the kernel refuse system calls with a seccomp filter.
"""

from __future__ import annotations

#: Runs its further arguments under a seccomp filter that answers EPERM to some calls.
FILTER = """
import ctypes
import os
import struct
import sys

# Audit architecture and system call numbers. Source: linux/audit.h, asm/unistd.h.
ARCH, NUMBERS = {
    "x86_64": (0xC000003E, {"unshare": 272, "mount": 165, "setns": 308,
                            "sethostname": 170, "clone": 56, "acct": 163}),
    "aarch64": (0xC00000B7, {"unshare": 97, "mount": 40, "setns": 268,
                             "sethostname": 161, "clone": 220, "acct": 89}),
}[os.uname().machine]
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h
ALLOW, ERRNO = 0x7FFF0000, 0x00050000  # linux/seccomp.h
SET_NO_NEW_PRIVS, SET_SECCOMP, MODE_FILTER = 38, 22, 2  # linux/prctl.h

def statement(code, k, jt=0, jf=0):
    return struct.pack("=HBBI", code, jt, jf, k)

calls, number = sys.argv[1].split(","), int(sys.argv[2])
program = [statement(LOAD, 4), statement(EQUAL, ARCH, 1, 0), statement(RETURN, ALLOW)]
program.append(statement(LOAD, 0))
for name in calls:
    program.append(statement(EQUAL, NUMBERS[name], 0, 1))
    program.append(statement(RETURN, ERRNO | number))
program.append(statement(RETURN, ALLOW))
code = ctypes.create_string_buffer(b"".join(program))

class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

libc = ctypes.CDLL(None, use_errno=True)
zero = ctypes.c_ulong(0)
assert libc.prctl(SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) == 0
filter_ = Program(len(program), ctypes.addressof(code))
mode = ctypes.c_ulong(MODE_FILTER)
if libc.prctl(SET_SECCOMP, mode, ctypes.byref(filter_), zero, zero):
    sys.exit(f"no filter: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[3], sys.argv[3:])
"""

#: Runs its further arguments under the filter that engines make of a profile, in a
#: container without capabilities. libseccomp makes it, as it does for the engines.
PROFILE = """
import ctypes
import json
import os
import sys

class Comparison(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_uint), ("operator", ctypes.c_int),
                ("first", ctypes.c_uint64), ("second", ctypes.c_uint64)]

# Source: seccomp.h of libseccomp; seccomp_init(3), seccomp_rule_add(3).
OPERATORS = {"SCMP_CMP_NE": 1, "SCMP_CMP_EQ": 4, "SCMP_CMP_MASKED_EQ": 7}
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
library = ctypes.CDLL("libseccomp.so.2")
library.seccomp_init.restype = ctypes.c_void_p

def applies(rule):
    wanted, unwanted = rule.get("includes") or {}, rule.get("excludes") or {}
    return (
        not wanted.get("caps")
        and ARCHITECTURE in wanted.get("arches", [ARCHITECTURE])
        and ARCHITECTURE not in unwanted.get("arches", [])
    )

def add(rule):
    action = ALLOW
    if rule["action"] != "SCMP_ACT_ALLOW":
        action = ERRNO | rule.get("errnoRet", profile["defaultErrnoRet"])
    given = [
        Comparison(one["index"], OPERATORS[one["op"]], one["value"],
                   one.get("valueTwo", 0))
        for one in rule.get("args") or []
    ]
    array = (Comparison * len(given))(*given)
    for name in rule["names"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        # Negative: other architectures have it, or an older library does not know it.
        if number >= 0:
            result = library.seccomp_rule_add_array(
                filter_, ctypes.c_uint32(action), number, len(given), array
            )
            assert result == 0, (name, os.strerror(-result))

with open(sys.argv[1]) as file:
    profile = json.load(file)
assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
action = ctypes.c_uint32(ERRNO | profile["defaultErrnoRet"])
filter_ = ctypes.c_void_p(library.seccomp_init(action))
for rule in profile["syscalls"]:
    if applies(rule):
        add(rule)
result = library.seccomp_load(filter_)
assert result == 0, os.strerror(-result)
os.execvp(sys.argv[2], sys.argv[2:])
"""
