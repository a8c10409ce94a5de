// locks_test_library.cc - calls locks_test while it is loaded and while it is unloaded.

extern "C" void LocksTestMeanwhile();

[[gnu::constructor]] static void Construct() { LocksTestMeanwhile(); }
[[gnu::destructor]] static void Destruct() { LocksTestMeanwhile(); }
