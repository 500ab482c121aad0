/* SPDX-License-Identifier: Apache-2.0 */
/* fault_run.h on epoll. */
#include "fault_run.h"

int main(void)
{
    return fault_run("faults", &backend_epoll, false);
}
