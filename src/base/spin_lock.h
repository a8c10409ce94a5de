// spin_lock.h - where the rooms find the spin lock.
//
// The class is defined under include/ because public primitives embed it.

#pragma once

#include "base/cpu.h"                   // IWYU pragma: export
#include "yamanote/detail/spin_lock.h"  // IWYU pragma: export
