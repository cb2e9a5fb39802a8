// The processes of MPI_COMM_WORLD. Only mpi.cc knows MPI; it is built where an MPI is installed.
#pragma once

#include <memory>

#include "comm/comm.h"

namespace clearhead {

std::shared_ptr<Comm> mpi_processes();

}  // namespace clearhead
