export async function pairsReport(count: number): Promise<void> {
  void count;
}
export async function dumpsReport(folder: string): Promise<void> {
  void folder;
}
