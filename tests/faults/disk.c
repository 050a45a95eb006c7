/*
 * Makes the journal's disk fail, for the daemon that this library is loaded into (LD_PRELOAD).
 *
 * SOARD_DISK is one of
 *   no-sync            fdatasync and fsync say that all is well and do nothing
 *   write:N:ERRNO      the Nth pwrite to a segment of the journal writes half and fails, counted from 1
 *   sync:N:ERRNO       the Nth fdatasync of a segment fails
 *   rename:N:ERRNO     the Nth rename within the journal fails
 * Each fails once, as on Linux; the next call succeeds.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int counts[3];

/* Whether this is the call that SOARD_DISK names. */
static int fails(const char *call, int which)
{
	const char *wanted = getenv("SOARD_DISK");
	size_t length = strlen(call);
	int n, error;

	if (wanted == NULL || strncmp(wanted, call, length) != 0 || wanted[length] != ':')
		return 0;
	if (sscanf(wanted + length, ":%d:%d", &n, &error) != 2)
		return 0;
	if (__atomic_add_fetch(&counts[which], 1, __ATOMIC_SEQ_CST) != n)
		return 0;
	return error;
}

static int is_segment(int fd)
{
	char link[64], path[4096];
	ssize_t length;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof path - 1);
	if (length < 0)
		return 0;
	path[length] = 0;
	return strstr(path, "/journal/") != NULL && strstr(path, ".jsonl") != NULL;
}

static int never_syncs(void)
{
	const char *wanted = getenv("SOARD_DISK");

	return wanted != NULL && strcmp(wanted, "no-sync") == 0;
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset)
{
	ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
	int error = is_segment(fd) ? fails("write", 0) : 0;

	if (error == 0)
		return real(fd, bytes, size, offset);
	real(fd, bytes, size / 2, offset);
	errno = error;
	return -1;
}

int fdatasync(int fd)
{
	int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
	int error;

	if (never_syncs())
		return 0;
	error = is_segment(fd) ? fails("sync", 1) : 0;
	if (error == 0)
		return real(fd);
	errno = error;
	return -1;
}

int fsync(int fd)
{
	int (*real)(int) = dlsym(RTLD_NEXT, "fsync");

	return never_syncs() ? 0 : real(fd);
}

int rename(const char *from, const char *to)
{
	int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
	int error = strstr(to, "/journal/") != NULL ? fails("rename", 2) : 0;

	if (error == 0)
		return real(from, to);
	errno = error;
	return -1;
}
