/* being written */
#include "tests/lib/client.h"
int main(void) { return 77; }
