/*
 * The floor of a sandbox: what no launcher can do without.
 *
 * floor COUNT [user] makes that many sandboxes, one after another: new namespaces (ipc,
 * uts, pid, mnt, and user if asked for), a process in them that mounts /proc, /dev/shm
 * and /dev/mqueue, and its end.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        _exit(1);
    }
}

static void put(const char *path, const char *text, int length)
{
    int file = open(path, O_WRONLY);
    must(file, path);
    must(write(file, text, length), path);
    close(file);
}

static void sandbox(int user)
{
    char map[64];
    int uid = getuid(), gid = getgid(), status;
    int kinds = CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNS;
    pid_t init;

    must(unshare(user ? kinds | CLONE_NEWUSER : kinds), "unshare");
    if (user) {
        put("/proc/self/setgroups", "deny", 4);
        put("/proc/self/uid_map", map, sprintf(map, "%d %d 1", uid, uid));
        put("/proc/self/gid_map", map, sprintf(map, "%d %d 1", gid, gid));
    }
    must(init = fork(), "fork");
    if (!init) {
        must(mount("", "/", "", MS_REC | MS_PRIVATE, ""), "mount /");
        must(mount("proc", "/proc", "proc", 0, ""), "mount /proc");
        must(mount("shm", "/dev/shm", "tmpfs", 0, ""), "mount /dev/shm");
        /* Not all machines have this directory. */
        if (!access("/dev/mqueue", F_OK))
            must(mount("mqueue", "/dev/mqueue", "mqueue", 0, ""), "mount /dev/mqueue");
        _exit(0);
    }
    must(waitpid(init, &status, 0), "waitpid");
    _exit(status != 0);
}

int main(int count, char **arguments)
{
    for (int left = atoi(arguments[1]); left > 0; left--) {
        int status;
        pid_t process = fork();
        must(process, "fork");
        if (!process)
            sandbox(count > 2);
        must(waitpid(process, &status, 0), "waitpid");
        if (status)
            return 1;
    }
    return 0;
}
