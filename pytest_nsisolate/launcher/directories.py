"""
The directories of a sandbox that are not the host's: fresh, copied on write, read-only.

This runs in a bare interpreter, and imports only `linux`.
"""

from __future__ import annotations

import errno
import os
import stat

from pytest_nsisolate.launcher.audit import WHOLE, read, rows
from pytest_nsisolate.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypedDict

    from pytest_nsisolate.launcher.audit import Layer

    class Wanted(TypedDict):
        """The fields of a request that are about directories."""

        tmpfs: tuple[str, ...] | None
        overlay: tuple[str, ...] | bool | None
        overlay_size: str | int | None
        readonly: tuple[str, ...] | None
        kept: tuple[str, ...]
        written: tuple[str, ...]


#: What a directory becomes. If two are said of one, the later one here counts.
_READ_ONLY, _COPIED, _KEPT, _FRESH = range(4)

_QUIET = syscalls.MS_NOSUID | syscalls.MS_NODEV

#: The attributes of a mount that its overlay has too, which are the same numbers in
#: statvfs(3), f_flag. That it is read-only is none of them: what is written goes
#: elsewhere.
_ATTRIBUTES = (
    syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOEXEC
)

#: File systems that show the kernel, and have no files to be copied. Source: mount(8);
#: /proc/filesystems, those without a device.
_OF_THE_KERNEL = frozenset(
    (
        *("autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs"),
        *("devpts", "devtmpfs", "efivarfs", "fusectl", "hugetlbfs", "mqueue", "nsfs"),
        *("proc", "pstore", "securityfs", "selinuxfs", "sysfs", "tracefs"),
    )
)

#: The ids that owners show who do not exist in a user namespace. Source:
#: proc_sys_kernel(5), overflowuid.
_NOBODY = 65534

#: What a sandbox has of its own, or shares because there are devices in it.
_DEVICES = "/dev"

#: The file of a process with its mounts. Source: proc_pid_mountinfo(5).
_MOUNTS = "/proc/self/mountinfo"

#: What is said of a path when the directory there, or one above it, has been removed.
_GONE = (errno.ENOENT, errno.ENOTDIR)


class _Place:
    """
    A directory, or whatever is a mount point, that is to become something.

    Args:
        kind: What it becomes.
        name: Its path as it was asked for.
        source: Its path outside, without symbolic links.
        target: Its path in the sandbox, which differs where a symbolic link above it
            is gone.
        was_asked_for: Whether it must be there: it was not found below another one.
    """

    def __init__(
        self,
        kind: int,
        name: str,
        source: str,
        target: str,
        *,
        was_asked_for: bool = True,
    ) -> None:
        self.kind = kind
        self.name = name
        self.source = source
        self.target = target
        self.was_asked_for = was_asked_for
        #: The names that `target` consists of; none for the root directory.
        self.parts = tuple(one for one in target.split("/") if one)
        #: What is found outside, or the errno of what was refused.
        self.facts: os.stat_result | int
        try:
            self.facts = os.stat(source)
        except OSError as error:
            self.facts = error.errno or 0
        #: The mount to be attached; -1 if it is made in its place.
        self.mount = -1
        #: Whether the host has removed it since it was found.
        self.is_gone = False

    def is_below(self, other: _Place) -> bool:
        """
        Say whether this is below *other* in the sandbox.
        """
        outer = other.parts
        return self.parts[: len(outer)] == outer != self.parts

    def found(self) -> os.stat_result:
        """
        Return what is found outside.

        Raises:
            OSError: That was refused.
        """
        if isinstance(self.facts, int):
            raise _error(self.facts, f"open_tree({self.name})")
        return self.facts

    def have(self, make: Callable[[_Place], None]) -> None:
        """
        Call *make* with this, unless the host has removed it since it was found.
        """
        try:
            if not self.is_gone:
                make(self)
        except OSError as error:
            if self.was_asked_for or error.errno not in _GONE:
                raise
            self.is_gone = True

    def clone(self) -> None:
        """
        Have the mount that shows this as it is, or read-only.
        """
        self.mount = syscalls.clone_tree(self.source, below=True)
        if self.kind == _READ_ONLY:
            syscalls.make_read_only(self.mount, self.name)

    def attach(self) -> None:
        """
        Show the mount in its place.
        """
        syscalls.attach_mount(self.mount, self.target)
        if not self.parts:
            # What is attached there is seen by those who enter it.
            syscalls.named("fchdir(/)", os.fchdir, self.mount)
            syscalls.named("chroot()", os.chroot, ".")

    def close(self) -> None:
        """
        Close the mount, if there is one, which ends it unless it was attached.
        """
        if self.mount >= 0:
            os.close(self.mount)


def arrange(wanted: Wanted) -> list[Layer]:
    """
    Make the directories of a new mount namespace what *wanted* says.

    Returns:
        The layers of each overlay, and each file that was copied.

    Each shows what its path shows outside, whatever becomes of those above it. So
    everything is copied first, and then attached from the outside in. A directory that
    is missing below a fresh one is created.

    The host may mount, unmount and remove directories meanwhile.

    Raises:
        OSError: The kernel refused one of the mounts, or there is no such directory.
    """
    places = _places(wanted)
    layers = _copied(places, wanted["overlay_size"])
    for place in places:
        if any(one.kind == _FRESH and place.is_below(one) for one in places):
            syscalls.named(f"mkdir({place.name})", _make, place.target)
        if place.kind == _FRESH:
            _mount_fresh(place)
        else:
            place.have(_Place.attach)
        place.close()
    return layers


def _copied(places: list[_Place], size: str | int | None) -> list[Layer]:
    """
    Make the mount of each of *places*, and return the layers.
    """
    for place in places:
        if place.kind == _READ_ONLY and place.was_asked_for:
            _check_directory(place)
        if place.kind in {_READ_ONLY, _KEPT}:
            place.have(_Place.clone)
    copied = [place for place in places if place.kind == _COPIED]
    if not copied:
        return []
    with _Workshop(size) as workshop:
        for place in copied:
            place.have(workshop.copy)
    return workshop.layers


def try_overlay() -> None:
    """
    Make an overlay of an empty directory, which is attached nowhere.

    Raises:
        OSError: The kernel refused.
    """
    with _Workshop(None) as workshop:
        os.mkdir("trial")
        place = _Place(_COPIED, "trial", "trial", "/trial")
        workshop.copy(place)
        place.close()


def try_read_only() -> None:
    """
    Make a read-only copy of all mounts, which is attached nowhere.

    Raises:
        OSError: The kernel refused.
    """
    mount = syscalls.clone_tree("/", below=True)
    syscalls.make_read_only(mount, "/")
    os.close(mount)


def _places(wanted: Wanted) -> list[_Place]:
    """
    Return what is to become of each directory, the outer ones first.
    """
    overlay = wanted["overlay"]
    points = _points() if overlay else {}
    asked: dict[int, Iterable[str] | None] = {
        _FRESH: wanted["tmpfs"],
        _READ_ONLY: wanted["readonly"],
        _KEPT: wanted["kept"],
    }
    seen: dict[int, list[str]] = {}
    if isinstance(overlay, bool):
        seen = _everything(wanted["written"], points) if overlay else {}
    else:
        asked[_COPIED] = overlay
    named = sorted(
        (path, kind, was_asked_for)
        for kinds, was_asked_for in ((asked, True), (seen, False))
        for kind, paths in kinds.items()
        for path in paths or ()
    )
    found: dict[tuple[str, ...], _Place] = {}
    #: By the path of each fresh directory, its path without symbolic links.
    fresh: dict[str, str] = {}
    for path, kind, was_asked_for in named:
        # A symbolic link inside a fresh directory will be gone.
        outer = next((one for one in fresh if path.startswith(f"{one}/")), None)
        source = os.path.realpath(path)
        target = source if outer is None else fresh[outer] + path[len(outer) :]
        if kind == _FRESH:
            fresh[path] = target
        place = _Place(kind, path, source, target, was_asked_for=was_asked_for)
        if not was_asked_for and isinstance(place.facts, int):
            # It is gone, or closed to the user: as read-only as what it is in.
            continue
        known = found.get(place.parts)
        if known is None or known.kind < kind:
            found[place.parts] = place
    places = [place for place in found.values() if _matters(place, found.values())]
    places += [
        mount
        for place in places
        if place.kind == _COPIED
        for mount in _mounts_in(place, points)
        if mount.parts not in found and _around(mount, places) is place
    ]
    return sorted(places, key=lambda place: place.parts)


def _everything(written: Iterable[str], points: dict[str, str]) -> dict[int, list[str]]:
    """
    Return what the directories of a sandbox become in which nothing is to be written.

    Args:
        written: Directories in which it must be possible to write, if there are no
            mounts below.
        points: The mount points, and the file system of each.

    That is one overlay of the root directory. In a user namespace, an overlay must not
    hide mounts from outside. There each directory without mounts below has one, as
    large as possible. What is left is read-only, but for mounts of the kernel. Source:
    mount_namespaces(7), restrictions on mount namespaces.
    """
    try:
        os.close(syscalls.clone_tree("/", below=False))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    else:
        return {_COPIED: ["/"]}
    real = map(os.path.realpath, written)
    copied = [path for path in real if not any(_below(path, points))]
    kept: list[str] = []
    todo = ["/"]
    while todo:
        path = todo.pop()
        if path == _DEVICES or points.get(path) in _OF_THE_KERNEL:
            kept.append(path)
        elif not any(_below(path, points)):
            copied.append(path)
        else:
            try:
                entries = [*os.scandir(path)]
            except OSError:
                # What is in it is read-only, or gone.
                continue
            todo += [one.path for one in entries if one.is_dir(follow_symlinks=False)]
    return {_READ_ONLY: ["/"], _COPIED: copied, _KEPT: kept}


def _below(path: str, points: Iterable[str]) -> Iterator[bool]:
    """
    Yield for each of *points* whether it is below *path*.
    """
    start = f"{path.rstrip('/')}/"
    return (point.startswith(start) and point != path for point in points)


def _around(place: _Place, places: Iterable[_Place]) -> _Place | None:
    """
    Return the innermost of *places* that *place* is below.
    """
    outer = [one for one in places if place.is_below(one)]
    return max(outer, key=lambda one: len(one.parts), default=None)


def _matters(place: _Place, places: Iterable[_Place]) -> bool:
    """
    Say whether *place* is not what it is to become anyway.
    """
    around = _around(place, places)
    if place.kind == _KEPT:
        return around is not None and around.kind in {_READ_ONLY, _COPIED}
    if around is None or place.kind == _FRESH or around.kind != place.kind:
        return True
    # To write to a file of an overlay, the kernel copies the directories above it, and
    # cannot make one of an owner who does not exist here.
    return place.kind == _COPIED and _is_foreign(place, around)


def _is_foreign(place: _Place, outer: _Place) -> bool:
    """
    Say whether *place*, or a directory that it is in below *outer*, is somebody else's.

    In a user namespace, that owner may not exist.

    Source: user_namespaces(7); ovl_copy_up_start() in Linux, fs/overlayfs/copy_up.c,
    and EOVERFLOW of may_o_create() in fs/namei.c.
    """
    own = (os.geteuid(), os.getegid())
    path = place.source
    while len(path) > len(outer.source) and not _has_every_user():
        try:
            facts = os.stat(path)
        except FileNotFoundError:
            # The host has removed it.
            return False
        owner = (facts.st_uid, facts.st_gid)
        if owner != own or (_NOBODY in owner and not _has_owner(path)):
            return True
        path = os.path.dirname(path)
    return False


def _has_owner(path: str) -> bool:
    """
    Say whether the owner of the directory *path* exists in this user namespace.

    Source: open(2), O_NOATIME; inode_owner_or_capable() in Linux, fs/inode.c.
    """
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOATIME))
    except OSError:
        return False
    return True


def _has_every_user() -> bool:
    """
    Say whether this is the initial user namespace. Source: user_namespaces(7).
    """
    return read("/proc/self/uid_map").split() == ["0", "0", "4294967295"]


def _mounts_in(outer: _Place, points: dict[str, str]) -> Iterator[_Place]:
    """
    Yield those of *points* below *outer*, which an overlay of it does not show.

    What only its own user may look into, or nobody as its server is gone, is read-only.

    Source: Documentation/filesystems/overlayfs.rst in Linux: an overlay shows the
    mount points of its layers, and not what is mounted there; mount.fuse(8),
    allow_other.
    """
    kept: list[str] = []
    for path, fstype in points.items():
        if not any(_below(outer.source, [path])):
            continue
        if any(path.startswith(f"{one}/") for one in kept):
            # It is copied with the mount that it is in.
            continue
        kind = _COPIED
        if fstype in _OF_THE_KERNEL or f"{path}/".startswith(f"{_DEVICES}/"):
            kind = _KEPT
            kept.append(path)
        target = outer.target.rstrip("/") + path[len(outer.source.rstrip("/")) :]
        place = _Place(kind, path, path, target, was_asked_for=False)
        if place.facts in _GONE:
            # Another mount hides it, or the host has unmounted and removed it.
            continue
        if isinstance(place.facts, int) and kind == _COPIED:
            place.kind = _READ_ONLY
        yield place


def _points() -> dict[str, str]:
    """
    Return the mount points, the outer ones first, and the file system of each.
    """
    with open(_MOUNTS, "rb") as file:
        text = os.fsdecode(file.read())
    # The latest one at a mount point is the one that is seen.
    found = {unescaped(row[4]): row[row.index("-") + 1] for row in rows(text)}
    return {point: found[point] for point in sorted(found)}


def unescaped(text: str) -> str:
    """
    Return the path that *text* stands for. Source: proc_pid_mountinfo(5), proc(5).
    """
    first, *others = text.split("\\")
    return first + "".join(chr(int(one[:3], 8)) + one[3:] for one in others)


def _check_directory(place: _Place) -> None:
    if not stat.S_ISDIR(place.found().st_mode):
        raise _error(errno.ENOTDIR, f"open_tree({place.name})")


def _error(number: int, call: str) -> OSError:
    return OSError(number, os.strerror(number), call)


class _Workshop:
    """
    A tmpfs that holds what is written to the overlays of a sandbox.

    Nobody sees it: it is detached as soon as the overlays are made, and ends with them.

    Args:
        size: How much it holds, as tmpfs(5) takes it; None: half of the memory.
    """

    def __init__(self, size: str | int | None) -> None:
        self._size = size
        self._made = 0
        #: The layers of each overlay that was made, and each file that was copied.
        self.layers: list[Layer] = []

    def __enter__(self) -> _Workshop:
        options: dict[str, str | None] = {"mode": "0700"}
        if self._size is not None:
            options["size"] = str(self._size)
        mount = syscalls.new_mount("tmpfs", "overlay", options, 0)
        # The layers of an overlay must be attached. This hides the root directory from
        # nobody who has it already.
        syscalls.attach_mount(mount, "/")
        os.fchdir(mount)
        os.close(mount)
        self._options = _layer_options()
        return self

    def __exit__(self, *_: object) -> None:
        syscalls.unmount(".")
        os.chdir("/")

    def copy(self, place: _Place) -> None:
        """
        Have a mount that shows *place*, and is written to here.
        """
        self._made += 1
        base = str(self._made)
        os.mkdir(base)
        found = place.found()
        if stat.S_ISDIR(found.st_mode):
            self._overlay(place, found, base)
            return
        if place.was_asked_for:
            _check_directory(place)
        if not stat.S_ISREG(found.st_mode):
            place.mount = syscalls.clone_tree(place.source, below=False)
            return
        copy = f"{base}/copy"
        syscalls.named(f"open({place.name})", _copy_file, place.source, copy)
        _own(copy, found)
        os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
        self.layers.append((place.target, os.open(copy, os.O_PATH), WHOLE))
        place.mount = syscalls.clone_tree(copy, below=False)

    def _overlay(self, place: _Place, found: os.stat_result, base: str) -> None:
        lower, upper, work = (f"{base}/{name}" for name in ("lower", "upper", "work"))
        for path in (lower, upper, work):
            os.mkdir(path)
        outside = syscalls.clone_tree(place.source, below=False)
        syscalls.attach_mount(outside, lower)
        os.close(outside)
        _own(upper, found)
        layers = {"lowerdir": lower, "upperdir": upper, "workdir": work}
        facts = syscalls.named(f"statvfs({place.name})", os.statvfs, lower)
        attributes = facts.f_flag & _ATTRIBUTES
        options = {"source": "overlay", **layers, **self._options}
        place.mount = syscalls.new_mount("overlay", place.name, options, attributes)
        read = os.open(upper, os.O_RDONLY | os.O_DIRECTORY)
        # The user may not be allowed to read it.
        self.layers.append((place.target, read, os.open(lower, os.O_PATH)))


def _layer_options() -> dict[str, str | None]:
    """
    Return the options of overlays whose upper layers are in the working directory.

    Overlays keep notes in extended attributes: of the kind "trusted", which takes
    CAP_SYS_ADMIN outside of any user namespace, or "user", which tmpfs has since Linux
    6.6. Source: Documentation/filesystems/overlayfs.rst in Linux; xattr(7).

    Raises:
        OSError: There are neither.
    """
    try:
        os.setxattr(".", "trusted.overlay.trial", b"y")
    except OSError:
        call = "setxattr(tmpfs, user.overlay)"
        syscalls.named(call, os.setxattr, ".", "user.overlay.trial", b"y")
        return {"userxattr": None}
    # Directories of the host can be renamed.
    return {"redirect_dir": "on"}


def _copy_file(source: str, target: str) -> None:
    with open(source, "rb") as old, open(target, "xb") as new:
        while part := old.read(1 << 20):
            new.write(part)


def _own(path: str, facts: os.stat_result) -> None:
    """
    Give *path* the owner and the mode of *facts*.

    If that owner does not exist in this user namespace, *path* belongs to the caller,
    who is also the user of the test, and is open to him.
    """
    mode = stat.S_IMODE(facts.st_mode)
    try:
        os.chown(path, facts.st_uid, facts.st_gid)
    except OSError:
        mode |= stat.S_IRWXU
    os.chmod(path, mode)


def _mount_fresh(place: _Place) -> None:
    """
    Mount an empty tmpfs at *place*.

    It has the mode of the directory that it hides, always open to its owner, and
    belongs to the caller's user, who is also the user of the test. Source: tmpfs(5),
    "mode", "uid" and "gid".
    """
    # If there is no such directory, the mount will say why, or it was created.
    mode = 0o755
    if not isinstance(place.facts, int):
        mode = stat.S_IMODE(place.facts.st_mode) | stat.S_IRWXU
    call = f"mount(tmpfs, {place.name})"
    mount = ("tmpfs", place.target, "tmpfs", _QUIET, f"mode={mode:o}")
    syscalls.named(call, syscalls.mount, *mount)


def _make(path: str) -> None:
    os.makedirs(path, mode=0o755, exist_ok=True)
