/*
 * Stops the daemon that this library is loaded into (LD_PRELOAD) at the Nth call that changes something in its state
 * folder: in the middle of a write, and just before any other call. The rest of the daemon goes on.
 *
 * SOARD_STATE    the state folder
 * SOARD_STAGES   a folder elsewhere: `trace` gets a line for each call, before it is made; `reached` says where it
 *                stopped; what is removed stays in `gone/`
 * SOARD_STAGE    which call to stop at, counted from 1; 0 for none
 * SOARD_NO_SYNC  files and folders (a pattern, relative to the state folder) whose syncs do nothing
 *
 * Not counted: the index, which is made anew from the journal, HEAD, checkpoints and the writing of ordinary entries, which go
 * on all the time. Entries about dropped and archived segments are counted, and so are their syncs.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { PATH = 4096 };

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int calls;
/* An entry that counts is written and not yet synced. */
static int on_record;

static const char *setting(const char *name)
{
	const char *value = getenv(name);

	return value == NULL ? "" : value;
}

/* The path relative to the state folder; NULL where it does not count. */
static const char *counted(const char *path)
{
	static const char *const passed[] = { "index", "index/*", "bundles/*", "*.sock", "journal/LOCK", "journal/HEAD",
		"journal/checkpoints*" };
	const char *state = setting("SOARD_STATE");
	size_t length = strlen(state), n;

	if (length == 0 || strncmp(path, state, length) != 0 || (path[length] != '/' && path[length] != 0))
		return NULL;
	path += length + (path[length] == '/');
	for (n = 0; n < sizeof passed / sizeof *passed; n++)
		if (fnmatch(passed[n], path, 0) == 0)
			return NULL;
	return path;
}

/* The same for an open file. */
static const char *counted_file(int fd, char path[PATH])
{
	char link[64];
	ssize_t length;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	length = readlink(link, path, PATH - 1);
	if (length < 0)
		return NULL;
	path[length] = 0;
	return counted(path);
}

static int is_segment(const char *path)
{
	return fnmatch("journal/*.jsonl", path, 0) == 0;
}

static int never_syncs(const char *path)
{
	const char *pattern = setting("SOARD_NO_SYNC");

	return *pattern != 0 && fnmatch(pattern, path, 0) == 0;
}

static void note(const char *file, const char *text)
{
	char path[PATH];
	int fd;
	int (*opens)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");

	snprintf(path, sizeof path, "%s/%s", setting("SOARD_STAGES"), file);
	fd = opens(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	dprintf(fd, "%s\n", text);
	close(fd);
}

/* Counts a call; whether it is the one to stop at. */
static int is_stage(const char *call, const char *path, const char *more)
{
	char line[3 * PATH];
	int n;

	snprintf(line, sizeof line, "%s\t%s\t%s", call, path, more);
	pthread_mutex_lock(&turn);
	n = ++calls;
	note("trace", line);
	pthread_mutex_unlock(&turn);
	if (n != atoi(setting("SOARD_STAGE")))
		return 0;
	return 1;
}

static void stop(const char *call, const char *path)
{
	char line[2 * PATH], thread[32] = "";

	pthread_getname_np(pthread_self(), thread, sizeof thread);
	snprintf(line, sizeof line, "%s\t%s\t%s", call, path, thread);
	note("reached", line);
	for (;;)
		pause();
}

static void pass(const char *call, const char *path, const char *more)
{
	if (is_stage(call, path, more))
		stop(call, path);
}

/* An open that makes or empties a file. */
static void opened(const char *path, int flags)
{
	const char *name = flags & (O_CREAT | O_TRUNC) ? counted(path) : NULL;

	if (name == NULL)
		return;
	if (access(path, F_OK) != 0)
		pass("make", name, "");
	else if (flags & O_TRUNC)
		pass("empty", name, "");
}

int open64(const char *path, int flags, ...)
{
	int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
	va_list rest;
	int mode;

	va_start(rest, flags);
	mode = flags & O_CREAT ? va_arg(rest, int) : 0;
	va_end(rest);
	opened(path, flags);
	return real(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
	int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
	va_list rest;
	int mode;

	va_start(rest, flags);
	mode = flags & O_CREAT ? va_arg(rest, int) : 0;
	va_end(rest);
	opened(path, flags);
	return real(path, flags, mode);
}

/* Whether a write counts: to a segment, only the entries that archiving and retention rest on. */
static int writes(const char *path, const void *bytes, size_t size)
{
	static const char archived[] = "\"d\":{\"archived\"", dropped[] = "\"d\":{\"dropped\"";

	if (path == NULL || !is_segment(path))
		return path != NULL;
	if (memmem(bytes, size, archived, sizeof archived - 1) == NULL
	    && memmem(bytes, size, dropped, sizeof dropped - 1) == NULL)
		return 0;
	__atomic_store_n(&on_record, 1, __ATOMIC_SEQ_CST);
	return 1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset)
{
	ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
	char whole[PATH], place[32];
	const char *path = counted_file(fd, whole);

	if (!writes(path, bytes, size))
		return real(fd, bytes, size, offset);
	snprintf(place, sizeof place, "%lld", (long long)offset);
	if (is_stage("write", path, place)) {
		real(fd, bytes, size / 2, offset);
		stop("write", path);
	}
	return real(fd, bytes, size, offset);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
	ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
	char whole[PATH], place[32];
	const char *path = counted_file(fd, whole);

	if (!writes(path, bytes, size))
		return real(fd, bytes, size);
	snprintf(place, sizeof place, "%lld", (long long)lseek(fd, 0, SEEK_CUR));
	if (is_stage("write", path, place)) {
		real(fd, bytes, size / 2);
		stop("write", path);
	}
	return real(fd, bytes, size);
}

/* Whether the sync is really made. */
static int syncs(int fd)
{
	char whole[PATH];
	const char *path = counted_file(fd, whole);

	if (path == NULL || (is_segment(path) && !__atomic_exchange_n(&on_record, 0, __ATOMIC_SEQ_CST)))
		return 1;
	if (never_syncs(path))
		return 0;
	pass("sync", path, "");
	return 1;
}

int fdatasync(int fd)
{
	int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");

	return syncs(fd) ? real(fd) : 0;
}

int fsync(int fd)
{
	int (*real)(int) = dlsym(RTLD_NEXT, "fsync");

	return syncs(fd) ? real(fd) : 0;
}

int ftruncate64(int fd, off64_t length)
{
	int (*real)(int, off64_t) = dlsym(RTLD_NEXT, "ftruncate64");
	char whole[PATH], place[32];
	const char *path = counted_file(fd, whole);

	snprintf(place, sizeof place, "%lld", (long long)length);
	if (path != NULL && !is_segment(path))
		pass("cut", path, place);
	return real(fd, length);
}

int rename(const char *from, const char *to)
{
	int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
	const char *old = counted(from), *new = counted(to);

	if (old != NULL && new != NULL)
		pass(access(to, F_OK) == 0 ? "replace" : "rename", new, old);
	return real(from, to);
}

int unlink(const char *path)
{
	int (*real)(const char *) = dlsym(RTLD_NEXT, "unlink");
	const char *name = access(path, F_OK) == 0 ? counted(path) : NULL;
	char kept[PATH];

	if (name != NULL) {
		pass("remove", name, "");
		snprintf(kept, sizeof kept, "%s/gone/%s", setting("SOARD_STAGES"), strrchr(path, '/') + 1);
		real(kept);
		if (link(path, kept) != 0)
			note("trace", "error\tkeep\t");
	}
	return real(path);
}
