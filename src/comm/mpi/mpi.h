// The processes of MPI_COMM_WORLD. mpi.cc is the only file that knows MPI, and is built where an MPI is installed.
#pragma once

#include <memory>

#include "comm/comm.h"

namespace clearhead {

std::shared_ptr<Comm> mpi_processes();

}  // namespace clearhead
