# Functions of .ci/run.

# The seconds after which a lane is ended and counts as failed. The longest one took 970 to
# 1310, depending on the machine.
LANE_LIMIT=1800

# What Debian's login(1) gives to root, and to other users.
SYSTEM_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
USER_PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games

LANES=(build sid lint type docs
    newcomer-root tests-root newcomer-rootless tests-rootless
    oldest-root oldest-rootless py314-rootless
    py315-root py315-rootless
    plugins-root plugins-rootless side-by-side servers site kernels)

stop() {
    printf 'ci: %s\n0 passed, 1 failed\n' "$1"
    exit 1
}

# Install missing packages; if one cannot be installed, the lane that needs it fails.
install_packages() {
    local package missing=()
    for package in busybox-static debootstrap fakeroot gcc git hostname libc6-dev passwd \
        patchelf python3 python3-dev python3-venv qemu-system-x86 strace util-linux \
        postgresql redis-server openssh-client openssh-server chromium chromium-driver; do
        dpkg --status "$package" >/dev/null 2>&1 || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet </dev/null
    # Do not start the services that are installed here.
    local policy=/usr/sbin/policy-rc.d
    if [[ -e $policy ]]; then policy=; else
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
    fi
    apt-get install --quiet --yes --no-install-recommends "${missing[@]}" </dev/null ||
        echo "ci: could not install ${missing[*]}" >&2
    [[ -z $policy ]] || rm -f "$policy"
}

# Print the two one-line commands that README.md gives to a newcomer.
commands_of_readme() {
    sed -nE 's/^(\$ )?(python3 -m venv .*)$/\2/p' README.md | awk '!seen[$0]++'
}

copy_working_tree() {
    mkdir "$1"
    trusting_git ls-files --cached --others --exclude-standard --deduplicate -z |
        tar --create --null --files-from=- --ignore-failed-read 2>/dev/null |
        tar --extract --no-same-owner --directory="$1"
    [[ -f $1/pyproject.toml ]] || stop "cannot copy the checkout"
}

# git refuses a repository of another user, so tell it to trust this one.
trusting_git() {
    printf '[safe]\n\tdirectory = *\n' >"$work/gitconfig"
    GIT_CONFIG_GLOBAL=$work/gitconfig git "$@"
}

# Print the path of a Python of version $1 that every user can run, copied if need be.
python_for_all() {
    local version=$1 candidate prefix copy=$work/python/$1
    local pyenv=${PYENV_ROOT:-$HOME/.pyenv}
    for candidate in {/usr,/usr/local,/opt/*,"$pyenv/versions/$version".*}/bin/"python$version" \
        "$(PATH=$caller_path type -P "python$version")"; do
        prefix=$("$candidate" -c "$DESCRIBE" "$version" 2>/dev/null) || continue
        can_all_run "$prefix/bin/python$version" && return
        rm -rf "$copy"
        cp -a "$prefix" "$copy" || continue
        # It has its old path in sysconfig and in the search path of libpython.
        sed -i "s#$prefix#$copy#g" "$copy/lib/python$version"/_sysconfigdata*.py
        patchelf --set-rpath "\$ORIGIN/../lib" "$copy/bin/python$version" 2>/dev/null
        can_all_run "$copy/bin/python$version" && return
    done
    return 1
}

DESCRIBE='
import ctypes, ssl, sys, venv
assert "%d.%d" % sys.version_info[:2] == sys.argv[1]
print(sys.base_prefix)'

can_all_run() {
    "${as_rootless[@]}" "$1" -c "$DESCRIBE" "${1##*python}" >/dev/null 2>&1 && echo "$1"
}

# Print the mirror of Debian that this machine's packages come from.
debian_mirror() {
    apt-get indextargets --format '$(LABEL) $(SITE)' 'Identifier: Packages' |
        awk '$1 == "Debian" { print $2; exit }'
}

# Print the command that makes a Debian sid in $1, which has the newest Pythons, and
# installs tox for it in $1/tox.
command_for_sid() {
    local packages=hostname,procps,python3.14-venv,python3.15-venv
    local tox="python3.15 -m venv $1/tox && $1/tox/bin/pip install --quiet \"tox>=4.22\""
    local install="debootstrap --variant=minbase --include=$packages sid $1 $(debian_mirror)"
    # A second time, if a package could not be fetched.
    echo "{ $install || { rm -rf $1 && $install; }; } &&
        unshare --mount sh -c 'mount --bind $1/usr /usr && $tox'"
}

# Run a command with its own mounts and IPC objects, so that neither other lanes nor
# other programs disturb it, and record in the file $1 which of them it leaves. If $2 is
# a path, it is mounted on /usr: all programs and libraries come from there, and all else
# from this machine. A chroot would not do, since the kernel makes no user namespace there.
# Source: unshare(2), "EPERM".
WITH_OWN_MACHINE='
left=$1 usr=$2
shift 2
[[ -z $usr ]] || mount --bind "$usr" /usr || exit
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /dev/shm || exit
if [[ -d /dev/mqueue ]]; then mount -t mqueue mqueue /dev/mqueue || exit; fi
# As on most machines, where a mount that a sandbox does not keep to itself is seen.
mount --make-rshared / || exit
mounts=$(</proc/self/mountinfo)
"$@"
code=$?
for try in {1..10}; do
    found=$(
        ipcs --queues --shmems --semaphores | grep ^0x
        find /dev/shm /dev/mqueue -mindepth 1 2>/dev/null
        comm -13 <(sort <<<"$mounts") <(sort /proc/self/mountinfo)
    )
    [[ -n $found ]] || exit "$code"
    # What is just ending gets some time.
    sleep 1
done
echo "$found" >>"$left"
exit "$code"'

# Run a lane, given its name, root or rootless, and a command line for sh.
lane() {
    local name=$1 who=$2 command=$3 begun=$SECONDS code=0 usr=
    local dir=$work/lane/$name
    [[ $name != py31[45]-* ]] || usr=$work/sid/usr
    mkdir "$dir" "$dir/tmp"
    if [[ $name == newcomer-* ]]; then
        trusting_git clone --quiet --local "$checkout" "$dir/checkout"
    elif [[ $name == tests-root ]]; then
        # As a distribution does it.
        mkdir "$dir/checkout"
        tar --extract --no-same-owner --strip-components=1 --directory="$dir/checkout" \
            --file="$(echo "$work"/dist/*.tar.gz)"
    else
        cp -a "$work/source" "$dir/checkout"
    fi
    [[ $who == root ]] || chown -R "$user:$user" "$dir"
    (
        cd "$dir/checkout" || exit
        unset PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONUNBUFFERED
        export PIP_RETRIES=10
        export CI=true TMPDIR="$dir/tmp" NSISOLATE_MUST_WORK=1
        [[ $who == rootless ]] || as_rootless=()
        # Bash's background processes ignore SIGINT, and so would the tests.
        exec unshare --ipc --mount bash -c "$WITH_OWN_MACHINE" "$name" "$work/left" "$usr" \
            env --default-signal timeout --kill-after=20 "$LANE_LIMIT" \
            "${as_rootless[@]}" sh -c "$command"
    ) </dev/null >"$dir.log" 2>&1 &
    # In the background, because a wait can be interrupted: traps act at once.
    wait $! || code=$?
    if [[ $name == newcomer-* ]] && ! grep -q '^nsisolate: ipc uts pid mnt' "$dir.log"; then
        echo "ci: the header does not say that tests are isolated" >>"$dir.log"
        code=${code/#0/1}
    fi
    if ((code == 124 || code == 137)); then
        echo "ci: ended after $LANE_LIMIT seconds" >>"$dir.log"
    fi
    echo "$code $((SECONDS - begun))" >"$dir.result"
    echo "ci: $name: $( ((code)) && echo failed || echo passed) after $((SECONDS - begun)) s"
    # pytest keeps its last three directories; nothing else may be left.
    find "$dir/tmp" -mindepth 1 -maxdepth 1 ! -name 'pytest-of-*' >>"$work/left"
    rm -rf "$dir"
}

result_of() {
    cat "$work/lane/$1.result" 2>/dev/null || echo "1 0"
}

# Print pytest's last summary line in lane $1, if there is one.
summary_of() {
    sed -E 's/\x1b\[[0-9;]*m//g' "$work/lane/$1.log" 2>/dev/null |
        grep -E '^=+ .* in [0-9.]+s( \([0-9:]+\))? =+$' | tail -1 | sed -E 's/^=+ | =+$//g'
}

print_failed_logs() {
    local name code
    for name in "${LANES[@]}"; do
        read -r code _ < <(result_of "$name")
        ((code)) || continue
        printf '\n===== log of %s, which failed (%s) =====\n' "$name" "$code"
        cat "$work/lane/$name.log" 2>/dev/null || echo "it could not run"
    done
}

# Print the files that a lane could leave on this machine, one line each.
snapshot() {
    find /tmp /var/tmp -mindepth 1 -maxdepth 1 \( -name '*nsisolate*' -o \
        -name 'pytest-of-*' -o -name 'pymp-*' -o -user "$user" \) 2>/dev/null
    return 0
}

# Print the descendants of this process, except those of the search itself.
descendants() {
    python3 -c '
import pathlib, os, sys
table = {}
for path in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        state, ppid = (path / "stat").read_text().rpartition(")")[2].split()[:2]
        words = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        continue
    table[int(path.name)] = int(ppid), state, words
def line(pid):
    while pid in table:
        yield pid
        pid = table[pid][0]
mine = set(line(os.getpid()))
for pid, (_, state, words) in table.items():
    if pid not in mine and state != "Z" and int(sys.argv[1]) in line(pid):
        print("process", pid, words)' $$
}

# Set left to what was not there before; what is just ending gets some time.
check_leftovers() {
    local try
    for try in {1..10}; do
        left=$(
            comm -13 <(sort <<<"$before") <(snapshot | sort)
            descendants
            cat "$work/left"
        )
        [[ -n $left ]] || return 0
        sleep 1
    done
    printf '\n===== left behind =====\n%s\n' "$left"
}

# Print the result of each lane and the total; the exit status is that of the run.
print_table() {
    local name code seconds summary good bad passed=0 failed=0 any=0
    printf '\n%-18s %-7s %5s  %s\n' lane result s pytest
    for name in "${LANES[@]}"; do
        read -r code seconds < <(result_of "$name")
        summary=$(summary_of "$name")
        good=$(sum_of passed "$summary") bad=$(sum_of 'failed|errors?' "$summary")
        if ((code)); then
            any=1 bad=$((bad ? bad : 1))
        elif ((good == 0)); then
            good=1
        fi
        ((passed += good, failed += bad))
        printf '%-18s %-7s %5s  %s\n' "$name" \
            "$( ((code)) && echo FAILED || echo passed)" "$seconds" "$summary"
    done
    if [[ -n $left ]]; then
        any=1
        ((failed += 1))
    else
        ((passed += 1))
    fi
    printf '%-18s %-7s\n' 'nothing left' "$([[ -n $left ]] && echo FAILED || echo passed)"
    printf '\nin %s s; a lane without pytest counts as one\n' "$((SECONDS - started))"
    printf '%s passed, %s failed\n' "$passed" "$failed"
    return "$any"
}

sum_of() {
    grep -oE "[0-9]+ ($1)\b" <<<"$2" | awk '{ sum += $1 } END { print sum + 0 }'
}

clean_up() {
    local code=$? pid
    descendants >"$work/descendants"
    while read -r _ pid _; do
        kill -KILL "$pid" 2>/dev/null
    done <"$work/descendants"
    userdel "$user" 2>/dev/null
    rm -rf "$work"
    exit "$code"
}
