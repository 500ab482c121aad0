/* SPDX-License-Identifier: Apache-2.0 */
/* fault_run.h on io_uring: the gateway's allocations are the same there, the ring's own fail in the
 * reactor's tests. */
#include "fault_run.h"

int main(void)
{
    return fault_run("faults of io_uring", &backend_uring, true);
}
