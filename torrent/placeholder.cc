#include "torrent/swarm.h"
