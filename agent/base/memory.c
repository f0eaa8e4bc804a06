/* Memory that only the start of a process needed.
 *
 * Loading and relocating some forty shared libraries touches most of their symbol tables, and reading a configuration touches a parser; none
 * of it is needed again, but it stays resident and counts as ours. Dropping the unmodified pages of the files costs a
 * minor fault for each one that is used again, which is a few hundred once.
 */
#include "gleaner/base.h"

#include <elf.h>
#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

static int forget_file_pages(struct dl_phdr_info *object, size_t size, void *arg)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	(void)size, (void)arg;
	if (strstr(object->dlpi_name, "vdso"))
		return 0;
	for (size_t i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
		/* A segment that was never writable holds what is in the file; relocated data is in writable ones. */
		if (segment->p_type != PT_LOAD || segment->p_flags & PF_W)
			continue;
		size_t begin = (object->dlpi_addr + segment->p_vaddr) / page * page;
		size_t end = object->dlpi_addr + segment->p_vaddr + segment->p_memsz;
		/* Only advice: where it is refused the pages stay. */
		madvise((void *)begin, end - begin, MADV_DONTNEED);
	}
	return 0;
}

void memory_forget_start(void)
{
	malloc_trim(0);
	dl_iterate_phdr(forget_file_pages, NULL);
}
