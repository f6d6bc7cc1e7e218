/* A disk that fails: preloaded, it makes file-system calls below one folder fail from a given one on.

   cc -shared -fPIC -o faulty_disk.so faulty_disk.c -ldl

   fault_arm(folder, at, error, lasting): the call with the number `at` below the folder fails with
   that errno, and with `lasting` every later one that such a disk would fail. It counts from 1;
   0 only counts. fault_calls(): calls so far. fault_call(n): name and path of the n-th. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST 16384
static char folder[PATH_MAX], *told[MOST];
static int at, error, lasting, calls;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void fault_arm(const char *below, int number, int code, int stays) {
  pthread_mutex_lock(&lock);
  snprintf(folder, sizeof folder, "%s", below);
  at = number, error = code, lasting = stays, calls = 0;
  pthread_mutex_unlock(&lock);
}
int fault_calls(void) { return calls; }
const char *fault_call(int number) { return number < MOST && told[number] ? told[number] : ""; }

/* Whether a call fails. `grows`: it takes room, which a full disk refuses; others only a broken or a
   read-only one. */
static int fails(const char *name, const char *path, int grows) {
  int failing = 0;
  if (!folder[0] || !path || strncmp(path, folder, strlen(folder))) return 0;
  pthread_mutex_lock(&lock);
  if (folder[0] && (grows || error != ENOSPC)) {
    calls++;
    failing = at && (lasting ? calls >= at : calls == at);
    if (calls < MOST) {
      free(told[calls]);
      if (asprintf(&told[calls], "%s %s", name, path) < 0) told[calls] = NULL;
    }
  }
  pthread_mutex_unlock(&lock);
  if (failing) errno = error;
  return failing;
}
static const char *place(int fd, char *buffer) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, buffer, PATH_MAX - 1);
  buffer[length < 0 ? 0 : length] = 0;
  return buffer;
}
static const char *whole(int dir, const char *path, char *buffer) {
  char base[PATH_MAX];
  if (!path || path[0] == '/') return path;
  if (dir == AT_FDCWD) {
    if (!getcwd(base, sizeof base)) base[0] = 0;
  } else {
    place(dir, base);
  }
  snprintf(buffer, PATH_MAX, "%.2000s/%.2000s", base, path);
  return buffer;
}
#define ON_FD(type, name, grows, parameters, ...)                    \
  type name parameters {                                             \
    char buffer[PATH_MAX];                                           \
    static type(*real) parameters;                                   \
    if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name);   \
    if (folder[0] && fails(#name, place(fd, buffer), grows)) return -1; \
    return real(__VA_ARGS__);                                        \
  }
ON_FD(ssize_t, write, 1, (int fd, const void *data, size_t size), fd, data, size)
ON_FD(ssize_t, pwrite, 1, (int fd, const void *data, size_t size, off_t from), fd, data, size, from)
ON_FD(ssize_t, pwrite64, 1, (int fd, const void *data, size_t size, off64_t from), fd, data, size, from)
ON_FD(ssize_t, writev, 1, (int fd, const struct iovec *parts, int count), fd, parts, count)
ON_FD(int, fsync, 1, (int fd), fd)
ON_FD(int, fdatasync, 1, (int fd), fd)
ON_FD(int, ftruncate, 0, (int fd, off_t size), fd, size)
ON_FD(int, ftruncate64, 0, (int fd, off64_t size), fd, size)

#define ON_PATH(name, grows, parameters, ...)                                           \
  int name parameters {                                                                 \
    char buffer[PATH_MAX];                                                              \
    static int(*real) parameters;                                                       \
    if (!real) real = (int(*) parameters)dlsym(RTLD_NEXT, #name);                       \
    if (folder[0] && fails(#name, whole(AT_FDCWD, path, buffer), grows)) return -1;     \
    return real(__VA_ARGS__);                                                           \
  }
ON_PATH(mkdir, 1, (const char *path, mode_t mode), path, mode)
ON_PATH(rename, 1, (const char *path, const char *to), path, to)
ON_PATH(unlink, 0, (const char *path), path)
ON_PATH(rmdir, 0, (const char *path), path)

#define ON_DIR(name, grows, parameters, ...)                                     \
  int name parameters {                                                          \
    char buffer[PATH_MAX];                                                       \
    static int(*real) parameters;                                                \
    if (!real) real = (int(*) parameters)dlsym(RTLD_NEXT, #name);                \
    if (folder[0] && fails(#name, whole(dir, path, buffer), grows)) return -1;   \
    return real(__VA_ARGS__);                                                    \
  }
ON_DIR(mkdirat, 1, (int dir, const char *path, mode_t mode), dir, path, mode)
ON_DIR(unlinkat, 0, (int dir, const char *path, int flags), dir, path, flags)
ON_DIR(renameat, 1, (int dir, const char *path, int dir2, const char *to), dir, path, dir2, to)
ON_DIR(renameat2, 1, (int dir, const char *path, int dir2, const char *to, unsigned flags), dir, path,
       dir2, to, flags)

static int opens(const char *name, int dir, const char *path, int flags) {
  char buffer[PATH_MAX];
  if (!folder[0] || !(flags & (O_CREAT | O_WRONLY | O_RDWR)) || (flags & O_TMPFILE) == O_TMPFILE)
    return 0;
  return fails(name, whole(dir, path, buffer), (flags & O_CREAT) != 0);
}
#define OPEN(name, dir, parameters, ...)                                     \
  int name parameters {                                                      \
    mode_t mode = 0;                                                         \
    if (flags & O_CREAT) {                                                   \
      va_list rest;                                                          \
      va_start(rest, flags);                                                 \
      mode = va_arg(rest, int);                                              \
      va_end(rest);                                                          \
    }                                                                        \
    static int(*real) parameters;                                            \
    if (!real) real = (int(*) parameters)dlsym(RTLD_NEXT, #name);            \
    if (opens(#name, dir, path, flags)) return -1;                           \
    return real(__VA_ARGS__, mode);                                          \
  }
OPEN(open, AT_FDCWD, (const char *path, int flags, ...), path, flags)
OPEN(open64, AT_FDCWD, (const char *path, int flags, ...), path, flags)
OPEN(openat, dir, (int dir, const char *path, int flags, ...), dir, path, flags)
OPEN(openat64, dir, (int dir, const char *path, int flags, ...), dir, path, flags)
