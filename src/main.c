#include "cmd/cmd.h"

int main(int argc, char **argv)
{
    return cmd_dispatch(argc, argv);
}
