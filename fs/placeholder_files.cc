#include "fs/files.h"
