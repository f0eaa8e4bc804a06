/* `gleaner probe` alone, without the rest of the program: what the kernel tests start. */
#include "gleaner/probe.h"

int main(int argc, char **argv)
{
	return probe_main(argc, argv);
}
