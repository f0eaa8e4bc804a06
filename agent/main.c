/* From the command line to a role: the scraper children are this binary too. */
#include <stdlib.h>
#include <string.h>

#include "core/cli.h"
#include "gleaner/scraper.h"

int main(int argc, char **argv)
{
	/* `gleaner --scraper-fd N`: how the core starts its children; not for people. */
	if (argc == 3 && strcmp(argv[1], "--scraper-fd") == 0)
		return scraper_run(atoi(argv[2]));
	return cli_main(argc, argv);
}
