/* Stands between a process and its disk (LD_PRELOAD): every call that opens, reads or changes a file of one folder is
 * counted, and one of them is answered with an error, torn, or the last thing that the process does. What is written
 * can be recorded as well. Armed from Python through `disk_arm`; before that it only passes on. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { OPEN = 1, CREATE = 2, WRITE = 4, SYNC = 8, NAME = 16, READ = 32 };
enum mode { COUNT = 0, KILL = 1, TEAR = 2, FAIL_ONCE = 3, FAIL_ON = 4 };

static char folder[PATH_MAX];
static size_t folder_length;
static int kinds, mode, error_number, record_fd = -1;
static long wanted, counted;
static char hit[64];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(result, name, ...) \
    static result (*real_##name)(__VA_ARGS__); \
    if (!real_##name) real_##name = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

void disk_arm(const char *of, int which, int how, long at, int number, int record) {
    pthread_mutex_lock(&lock);
    snprintf(folder, sizeof folder, "%s", of);
    folder_length = strlen(folder);
    kinds = which, mode = how, wanted = at, error_number = number, record_fd = record, counted = 0, hit[0] = 0;
    pthread_mutex_unlock(&lock);
}

long disk_counted(void) { return counted; }
const char *disk_hit(void) { return hit; }

static int is_ours(const char *path) {
    return folder_length && path && !strncmp(path, folder, folder_length) &&
           (path[folder_length] == '/' || !path[folder_length]);
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    char *gone = strstr(path, " (deleted)");
    if (gone) *gone = 0;
    return is_ours(path);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* What happens to this call: 0 nothing, 1 it fails, 2 it is torn. */
static int meet(int kind, const char *name, const char *path) {
    if (!(kinds & kind)) return 0;
    pthread_mutex_lock(&lock);
    long n = counted++;
    int is_hit = mode != COUNT && (n == wanted || (mode == FAIL_ON && n > wanted));
    if (n == wanted) {
        const char *last = strrchr(path, '/');
        snprintf(hit, sizeof hit, "%s %.40s", name, last ? last + 1 : path);
    }
    pthread_mutex_unlock(&lock);
    if (!is_hit) return 0;
    if (mode == KILL || (mode == TEAR && kind != WRITE)) die();
    if (mode == TEAR) return 2;
    errno = error_number;
    return 1;
}

/* One line of the record: what, where, offset, length, and then so many bytes. */
static void record(const char *what, const char *path, const char *more, long long at, const void *data, size_t n) {
    if (record_fd < 0) return;
    REAL(ssize_t, write, int, const void *, size_t);
    char head[3 * PATH_MAX];
    int length = snprintf(head, sizeof head, "%s\t%s\t%s\t%lld\t%zu\n", what, path, more, at, n);
    pthread_mutex_lock(&lock);
    if (real_write(record_fd, head, length) != length || (n && real_write(record_fd, data, n) != (ssize_t)n)) abort();
    pthread_mutex_unlock(&lock);
}

static int opened(const char *name, int at, const char *path, int flags, mode_t bits) {
    REAL(int, openat64, int, const char *, int, ...);
    char whole[PATH_MAX];
    if (path[0] == '/') snprintf(whole, sizeof whole, "%s", path);
    else whole[0] = 0;
    int ours = is_ours(whole), is_new = ours && (flags & O_CREAT) && access(whole, F_OK);
    if (ours && meet((flags & (O_CREAT | O_WRONLY | O_RDWR)) ? OPEN | CREATE : OPEN, name, whole)) return -1;
    int fd = real_openat64(at, path, flags, bits);
    if (ours && fd >= 0 && is_new) record("create", whole, "", 0, 0, 0);
    if (ours && fd >= 0 && !is_new && (flags & O_TRUNC)) record("truncate", whole, "", 0, 0, 0);
    return fd;
}

#define OPENER(name) \
    int name(const char *path, int flags, ...) { \
        va_list more; va_start(more, flags); mode_t bits = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); return opened("open", AT_FDCWD, path, flags, bits); }
OPENER(open)
OPENER(open64)
#define OPENER_AT(name) \
    int name(int at, const char *path, int flags, ...) { \
        va_list more; va_start(more, flags); mode_t bits = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); return opened("open", at, path, flags, bits); }
OPENER_AT(openat)
OPENER_AT(openat64)

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    char path[PATH_MAX];
    if (folder_length && path_of(fd, path)) {
        int what = meet(WRITE, "write", path);
        if (what == 1) return -1;
        if (what == 2) { if (real_pwrite64(fd, data, n / 2, at) < 0) abort(); die(); }
        ssize_t done = real_pwrite64(fd, data, n, at);
        if (done > 0) record("write", path, "", at, data, done);
        return done;
    }
    return real_pwrite64(fd, data, n, at);
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { return pwrite64(fd, data, n, at); }

ssize_t write(int fd, const void *data, size_t n) {
    REAL(ssize_t, write, int, const void *, size_t);
    char path[PATH_MAX];
    if (folder_length && fd != record_fd && path_of(fd, path)) {
        int what = meet(WRITE, "write", path);
        if (what == 1) return -1;
        if (what == 2) { if (real_write(fd, data, n / 2) < 0) abort(); die(); }
        struct stat known;
        off64_t at = fcntl(fd, F_GETFL) & O_APPEND && !fstat(fd, &known) ? known.st_size : lseek64(fd, 0, SEEK_CUR);
        ssize_t done = real_write(fd, data, n);
        if (done > 0) record("write", path, "", at, data, done);
        return done;
    }
    return real_write(fd, data, n);
}

#define READER(name, declared, given, ...) \
    ssize_t name declared { \
        REAL(ssize_t, name, __VA_ARGS__); \
        char path[PATH_MAX]; \
        if (folder_length && kinds & READ && path_of(fd, path) && meet(READ, "read", path)) return -1; \
        return real_##name given; }
READER(read, (int fd, void *data, size_t n), (fd, data, n), int, void *, size_t)
READER(pread, (int fd, void *data, size_t n, off_t at), (fd, data, n, at), int, void *, size_t, off_t)
READER(pread64, (int fd, void *data, size_t n, off64_t at), (fd, data, n, at), int, void *, size_t, off64_t)
READER(preadv, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at), int, const struct iovec *, int, off_t)
READER(preadv64, (int fd, const struct iovec *v, int n, off64_t at), (fd, v, n, at), int, const struct iovec *, int, off64_t)

#define SYNCER(name) \
    int name(int fd) { \
        REAL(int, name, int); \
        char path[PATH_MAX]; \
        if (!folder_length || !path_of(fd, path)) return real_##name(fd); \
        if (meet(SYNC, #name, path)) return -1; \
        int done = real_##name(fd); \
        if (!done) record("sync", path, "", 0, 0, 0); \
        return done; }
SYNCER(fsync)
SYNCER(fdatasync)

int ftruncate64(int fd, off64_t n) {
    REAL(int, ftruncate64, int, off64_t);
    char path[PATH_MAX];
    if (!folder_length || !path_of(fd, path)) return real_ftruncate64(fd, n);
    int what = meet(WRITE, "truncate", path);
    if (what == 1) return -1;
    if (what == 2) die();
    int done = real_ftruncate64(fd, n);
    if (!done) record("truncate", path, "", n, 0, 0);
    return done;
}
int ftruncate(int fd, off_t n) { return ftruncate64(fd, n); }

int rename(const char *old, const char *new) {
    REAL(int, rename, const char *, const char *);
    if (is_ours(new) && meet(NAME, "rename", new)) return -1;
    int done = real_rename(old, new);
    if (!done && is_ours(new)) record("rename", old, new, 0, 0, 0);
    return done;
}

int unlink(const char *path) {
    REAL(int, unlink, const char *);
    if (is_ours(path) && meet(NAME, "unlink", path)) return -1;
    int done = real_unlink(path);
    if (!done && is_ours(path)) record("unlink", path, "", 0, 0, 0);
    return done;
}

int mkdir(const char *path, mode_t bits) {
    REAL(int, mkdir, const char *, mode_t);
    if (is_ours(path) && meet(NAME | CREATE, "mkdir", path)) return -1;
    int done = real_mkdir(path, bits);
    if (!done && is_ours(path)) record("mkdir", path, "", 0, 0, 0);
    return done;
}
